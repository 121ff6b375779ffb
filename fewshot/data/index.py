"""The index of a data set: every image, its mask and how many pixels of each class the mask holds.

It is made once, by reading every mask, and kept as JSON with hashes of its own content and of the lists behind it.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fewshot.data.lists import ImageList, UnusableListError, read_lists
from fewshot.data.scanning import MaskScan, scan_masks
from fewshot.data.storage import DIGEST, DamagedFileError, write_whole

VERSION = 1
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
    """

    image: str
    mask: str
    pixels: dict[int, int]
    listed: tuple[int, ...] | None = None


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

    def check_lists(self, train: Sequence[Path], val: Sequence[Path]) -> None:
        """Make sure that the index was made from these lists.

        Raises:
            StaleIndexError: It was made from others.
            UnusableListError: A list cannot be read.
        """
        for name, split, paths in (("train", self.train, train), ("val", self.val, val)):
            if read_lists(paths).digest != split.digest:
                raise StaleIndexError(
                    f"An index must be made from the lists it is used with. Found other content in "
                    f"{', '.join(str(path) for path in paths)} than in the `{name}` lists that it was made from "
                    f"({', '.join(split.lists)}). Make the index again from these lists, or name the others."
                )


def build_index(
    root: Path,
    train: Sequence[Path],
    val: Sequence[Path],
    *,
    classes: tuple[str, ...],
    processes: int = 1,
    photographs: bool = True,
) -> Index:
    """Make an index by reading every mask that the lists name.

    Args:
        root: The data folder, which the paths in the lists start from.
        train: List files of the images to train on, as `read_lists` reads them.
        val: List files of the images to test on.
        classes: Names of the classes, in the order of their labels.
        processes: How many processes read masks, at least 1.
        photographs: Whether to make sure that every photograph is there and as large as its mask. Without, masks alone
            are enough to count.

    Raises:
        UnusableListError: A list cannot be read, names an image for a class that its mask does not show, or both
            `train` and `val` name an image.
        FileNotFoundError: Images or masks are missing.
        UnreadableImageError: An image or mask is damaged or of the wrong kind.
        WrongLabelError: A mask holds labels beyond the classes, or is not of its photograph's size.
    """
    lists = (read_lists(train), read_lists(val))
    shared = {listed.image for listed in lists[0].images} & {listed.image for listed in lists[1].images}
    if shared:
        raise UnusableListError(
            f"No image may be in the lists of both `train` and `val`. Found {len(shared)}, among them {min(shared)}, "
            f"in {', '.join(str(path) for path in [*train, *val])}. Leave them out of one of the lists."
        )
    scans = [
        MaskScan(root / listed.mask, root / listed.image if photographs else None, len(classes))
        for part in lists
        for listed in part.images
    ]
    counts = scan_masks(scans, processes=processes)
    cut = len(lists[0].images)
    return Index(classes, _join(lists[0], counts[:cut]), _join(lists[1], counts[cut:]))


def _join(listing: ImageList, counts: Sequence[dict[int, int]]) -> Split:
    entries = []
    for listed, pixels in zip(listing.images, counts, strict=True):
        absent = [class_id for class_id in listed.class_ids or () if class_id not in pixels]
        if absent:
            raise UnusableListError(
                f"An image must show the classes that it is listed under. Found no pixel of class {absent[0]} in "
                f"{listed.mask}, listed in {' or '.join(listing.names)}. Use the masks that the lists were made for."
            )
        entries.append(IndexEntry(listed.image, listed.mask, pixels, listed.class_ids))
    return Split(listing.names, listing.digest, listing.duplicates, tuple(entries))


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
            f"`fewshot index`."
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
