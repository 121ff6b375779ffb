"""The list files that few-shot segmentation papers hand round: which images take part, and for which classes.

Two formats are read, told apart by their lines:

- `JPEGImages/x.jpg SegmentationClassAug/x.png`, relative to the data folder (PFENet, BAM, CyCTR, RePRI, HDMNet);
- `x__cc`, an image of VOC and the label of a class that it is listed under (HSNet, VAT, DCAMA).
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

_PAIR = re.compile(r"(?P<image>[^\s/\\]+)__(?P<class_id>\d+)")
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


class UnusableListError(ValueError):
    """A list file does not say which images and classes are meant."""


@dataclass(frozen=True)
class ListedImage:
    """An image as its list names it.

    Attributes:
        image: Path of the photograph, relative to the data folder.
        mask: Path of its labels, likewise.
        class_ids: Classes that it is listed under, in rising order; None where the list names images only.
    """

    image: str
    mask: str
    class_ids: tuple[int, ...] | None


@dataclass(frozen=True)
class ImageList:
    """What one or several list files say together.

    Attributes:
        images: Each image once, in the order in which the files name them first.
        names: Names of the files, without folders.
        digest: Hash of the files' contents, in the order given.
        duplicates: Lines left out because they repeat another one.
    """

    images: tuple[ListedImage, ...]
    names: tuple[str, ...]
    digest: str
    duplicates: int


def read_lists(paths: Sequence[Path]) -> ImageList:
    """Read list files and merge them.

    An image that is listed under several classes becomes one entry. Lines that repeat another line are counted and left
    out: VOC2012 train and SBD train_noval share 1,134 images.

    Args:
        paths: The files, all of one format.

    Raises:
        UnusableListError: A file is missing, empty or not text, a line is of no known format, two lines contradict each
            other, or the formats are mixed.
    """
    merged: dict[str, ListedImage] = {}
    duplicates, digest = 0, hashlib.sha256()
    for path in paths:
        content = _read_content(path)
        digest.update(hashlib.sha256(content).digest())
        for where, listed in _parse(content, path):
            known = merged.get(listed.image)
            if known == listed or (known and listed.class_ids and set(listed.class_ids) <= set(known.class_ids or ())):
                duplicates += 1
            else:
                merged[listed.image] = listed if known is None else _merge(known, listed, where)
    images = tuple(merged.values())
    _check_kind(images, paths)
    return ImageList(images, tuple(path.name for path in paths), digest.hexdigest(), duplicates)


def read_names(path: Path) -> tuple[str, ...]:
    """Read names, such as those of classes, from a file with one in each line; spaces around them are no part of them.

    Raises:
        UnusableListError: The file is missing, empty or not text, or a name is there twice.
    """
    names = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    if not names:
        raise UnusableListError(f"A list must hold at least one name. Found no line in {path}. Fetch it again.")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise UnusableListError(
            f"A name must be in a list once. Found {repeated[0]!r} again in {path}. Leave out the second."
        )
    return names


def read_text(path: Path) -> str:
    """Read a text file.

    Raises:
        UnusableListError: The file is missing or not UTF-8 text.
    """
    return _decode(_read_content(path), path)


def _decode(content: bytes, path: Path) -> str:
    try:
        # Editors of spreadsheets begin a file with a mark of its encoding.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnusableListError(
            f"A list must be UTF-8 text. Found other bytes at {error.start} of {path}. Fetch it again, or convert it."
        ) from error


def _read_content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnusableListError(
            f"A list must be a file that can be read. Found none at {path} ({error.strerror}). Correct the path."
        ) from error


def _parse(content: bytes, path: Path) -> Iterator[tuple[str, ListedImage]]:
    lines = _decode(content, path).splitlines()
    empty = True
    for number, line in enumerate(lines, start=1):
        if line.strip():
            empty = False
            where = f"line {number} of {path}"
            yield where, _parse_line(line.strip(), where)
    if empty:
        raise UnusableListError(f"A list must name at least one image. Found no line in {path}. Fetch it again.")


def _parse_line(line: str, where: str) -> ListedImage:
    words = line.split()
    if len(words) == 2 and words[0].lower().endswith(_IMAGE_SUFFIXES) and words[1].lower().endswith(".png"):
        for word in words:
            _check_relative(word, where)
        return ListedImage(words[0], words[1], None)
    pair = _PAIR.fullmatch(line)
    if pair is None:
        raise UnusableListError(
            f"A line must be `image.jpg mask.png` or `image__class`. Found {line[:80]!r} in {where}. Correct the line, "
            f"or fetch the list again."
        )
    name = pair["image"]
    return ListedImage(f"JPEGImages/{name}.jpg", f"SegmentationClassAug/{name}.png", (int(pair["class_id"]),))


def _check_relative(word: str, where: str) -> None:
    path = PurePosixPath(word)
    if path.is_absolute() or ".." in path.parts:
        raise UnusableListError(
            f"Paths in a list must lie below the data folder. Found {word!r} in {where}. Write it relative to that "
            f"folder, without a leading slash and without `..`."
        )


def _merge(known: ListedImage, listed: ListedImage, where: str) -> ListedImage:
    if known.mask != listed.mask:
        raise UnusableListError(
            f"An image must have one mask. Found {listed.mask} in {where} and {known.mask} before for {known.image}. "
            f"Correct one of the lines."
        )
    if known.class_ids is None or listed.class_ids is None:
        raise _mixed_formats(where)
    return replace(known, class_ids=tuple(sorted({*known.class_ids, *listed.class_ids})))


def _check_kind(images: Sequence[ListedImage], paths: Sequence[Path]) -> None:
    if len({listed.class_ids is None for listed in images}) > 1:
        raise _mixed_formats(" and ".join(str(path) for path in paths))


def _mixed_formats(where: str) -> UnusableListError:
    return UnusableListError(
        f"Lists read together must be of one format. Found lines `image mask` and lines `image__class` in {where}. "
        f"Give the lists of one convention only."
    )
