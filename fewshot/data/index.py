"""The index of a data set: every image, its mask and how many pixels of each class the mask holds.

It is made once, by reading every mask, and kept as JSON with hashes of its own content and of the lists behind it.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from fewshot.data.storage import DIGEST, DamagedFileError, write_whole

VERSION = 2
"""Of the file's layout; raised whenever an older reader would misread it."""


class StaleIndexError(ValueError):
    """An index was made from other lists than those at hand, or by another version."""


@dataclass(frozen=True)
class IndexEntry:
    """An image of a data set.

    Attributes:
        image: Path of the photograph, relative to the data folder.
        mask: Path of its labels, likewise.
        pixels: How many pixels of each class the mask holds, at its own size; classes without one are left out.
        listed: Classes that the lists name the image for; None where they name images only.
        crowds: Classes of which it shows a crowd that nobody told apart. The mask holds such pixels as unknown, so that
            nothing is asked about them, and only these labels tell that the class is in sight.
    """

    image: str
    mask: str
    pixels: dict[int, int]
    listed: tuple[int, ...] | None = None
    crowds: tuple[int, ...] = ()

    def shows(self, class_ids: Iterable[int]) -> bool:
        """Tell whether a single pixel, or a crowd, of one of these classes is in sight."""
        return not {*self.pixels, *self.crowds}.isdisjoint(class_ids)


@dataclass(frozen=True)
class Split:
    """The images of one part of a data set.

    Attributes:
        lists: Names of the list files.
        digest: Hash of their contents.
        duplicates: Lines of theirs that repeat another one.
        entries: The images, in the order of the lists.
    """

    lists: tuple[str, ...]
    digest: str
    duplicates: int
    entries: tuple[IndexEntry, ...]


@dataclass(frozen=True)
class Index:
    """A data set as far as drawing episodes needs it.

    Attributes:
        classes: Names of the classes; the label of a class in the masks is its place here, from 1.
        train: Images to train on.
        val: Images to test on, none of them in `train`.
    """

    classes: tuple[str, ...]
    train: Split
    val: Split


def save_index(index: Index, path: Path) -> None:
    """Write an index as JSON; the file appears only when it is complete."""
    content = {
        "version": VERSION,
        "counts": {"train": _count(index.train), "val": _count(index.val)},
        **asdict(index),
    }
    write_whole(path, (_to_text({**content, DIGEST: _hash(content)}) + "\n").encode())


def load_index(path: Path) -> Index:
    """Read what `save_index` wrote.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedFileError: The file is cut short, altered, or no index.
        StaleIndexError: Another version wrote it.
    """
    try:
        content = json.loads(path.read_bytes())
        version, expected = content["version"], content.pop(DIGEST)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"An index must be a file that is there. Found nothing at {path}. Make it by `fewshot index`."
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(path, f"no index or half of one ({type(error).__name__}: {error})") from error
    if version != VERSION:
        raise StaleIndexError(
            f"An index must be of version {VERSION}. Found version {version} in {path}. Make it again by "
            f"`fewshot index --rebuild true`."
        )
    if _hash(content) != expected:
        raise _damaged(path, "other content")
    index = Index(tuple(content["classes"]), _read_split(content["train"]), _read_split(content["val"]))
    for name, split in (("train", index.train), ("val", index.val)):
        if _count(split) != content["counts"][name]:
            raise _damaged(path, f"counts {_count(split)} in `{name}` where {content['counts'][name]} are noted")
    return index


def _read_split(content: dict) -> Split:
    entries = tuple(
        IndexEntry(
            entry["image"],
            entry["mask"],
            {int(class_id): count for class_id, count in entry["pixels"].items()},
            None if entry["listed"] is None else tuple(entry["listed"]),
            tuple(entry["crowds"]),
        )
        for entry in content["entries"]
    )
    return Split(tuple(content["lists"]), content["digest"], content["duplicates"], entries)


def _count(split: Split) -> dict[str, int]:
    return {
        "images": len(split.entries),
        "pairs": sum(len(entry.pixels) for entry in split.entries),
        "pixels": sum(sum(entry.pixels.values()) for entry in split.entries),
    }


def _to_text(content: dict) -> str:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False, sort_keys=True)


def _hash(content: dict) -> str:
    # Sorted as text: the keys of `pixels` are numbers in memory and text in the file.
    return hashlib.sha256(_to_text(json.loads(json.dumps(content))).encode()).hexdigest()


def _damaged(path: Path, found: str) -> DamagedFileError:
    return DamagedFileError(
        f"An index must hold what its hash and its counts say. Found {found} in {path}. Delete the file and make it "
        f"again by `fewshot index`."
    )
