"""How a folder of one's own is laid out, in one of two ways.

Masks of many classes, where the numbers that a mask stores are classes (0 is background, 255 unknown):

    root/images/x.jpg        JPEG or PNG
    root/masks/x.png         its mask, grey or palette
    root/classes.txt         a name a line: the first is class 1; or
    root/classes.csv         a table with columns `class_id` (1, 2, ...) and `name`; others are not read

Masks of one class each, where every number but 0 is the object; the folders are the classes, in order of their names:

    root/cat/images/x.jpg
    root/cat/masks/x.png
    root/dog/images/...
"""

import csv
import hashlib
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fewshot.data.lists import ListedImage, read_names, read_text
from fewshot.data.masks import LabelMask, ObjectMask

IMAGES, MASKS = "images", "masks"
_SUFFIXES = (".jpg", ".jpeg", ".png")


class UnusableFolderError(ValueError):
    """A folder is not laid out as a data set."""


@dataclass(frozen=True)
class FolderLayout:
    """A folder of images and masks.

    Attributes:
        root: The folder.
        classes: Names of the classes; the label of a class is its place here, from 1.
        shared: Whether masks hold several classes, in one pair of folders; else each class has folders of its own.
    """

    root: Path
    classes: tuple[str, ...]
    shared: bool

    def list_images(self) -> tuple[ListedImage, ...]:
        """List the images with the masks that they must have, in the order of their names.

        Raises:
            UnusableFolderError: There is no image, or two would share a mask.
        """
        parts = ("",) if self.shared else self.classes
        return tuple(listed for part in parts for listed in _list_part(self.root, part))

    def mask(self, name: str) -> LabelMask | ObjectMask:
        """Give the mask of a path relative to the folder."""
        if self.shared:
            return LabelMask(self.root / name, len(self.classes))
        return ObjectMask(self.root / name, self.classes.index(PurePosixPath(name).parts[0]) + 1)

    def digest(self) -> str:
        """Name what the folder holds: its classes, its images, and how large the files of its masks are."""
        digest = hashlib.sha256("\n".join(self.classes).encode())
        for listed in self.list_images():
            path = self.root / listed.mask
            digest.update(f"\n{listed.image} {path.stat().st_size if path.is_file() else 'missing'}".encode())
        return digest.hexdigest()


def read_layout(root: Path) -> FolderLayout:
    """Find out how a folder is laid out.

    Raises:
        UnusableFolderError: There is no such folder, it is laid out in neither way, or its table of classes is wrong.
        UnusableListError: Its list of classes cannot be used.
    """
    if (root / IMAGES).is_dir() and (root / MASKS).is_dir():
        return FolderLayout(root, _read_classes(root), shared=True)
    children = sorted(root.iterdir()) if root.is_dir() else []
    classes = tuple(child.name for child in children if (child / IMAGES).is_dir() and (child / MASKS).is_dir())
    if not classes:
        raise UnusableFolderError(
            f"A folder must hold `{IMAGES}` and `{MASKS}`, or a folder for each class that holds those two. Found "
            f"{'neither' if root.is_dir() else 'no folder'} at {root}. Correct the path, or arrange the files so."
        )
    return FolderLayout(root, classes, shared=False)


def _read_classes(root: Path) -> tuple[str, ...]:
    table = root / "classes.csv"
    if not table.is_file():
        return read_names(root / "classes.txt")
    rows = list(csv.DictReader(io.StringIO(read_text(table))))
    numbers = [row.get("class_id") for row in rows]
    names = tuple((row.get("name") or "").strip() for row in rows)
    if not rows or numbers != [str(number) for number in range(1, len(rows) + 1)] or not all(names):
        raise UnusableFolderError(
            f"A table of classes must have columns `class_id`, which counts from 1, and `name`. Found numbers "
            f"{numbers[:5]} and names {list(names[:5])} in {table}. Correct the table."
        )
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise UnusableFolderError(
            f"Classes must have names of their own. Found {repeated[0]!r} twice in {table}. Rename one of the two."
        )
    return names


def _list_part(root: Path, part: str) -> list[ListedImage]:
    folder = root / part / IMAGES
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    if not paths:
        raise UnusableFolderError(
            f"A folder of images must hold JPEG or PNG files. Found none in {folder}. Add images, or remove the folder."
        )
    shared = [stem for stem, count in Counter(path.stem for path in paths).items() if count > 1]
    if shared:
        raise UnusableFolderError(
            f"Images must differ in their names without suffix, by which their masks are found. Found several of "
            f"{shared[0]!r} in {folder}. Rename all but one."
        )
    return [
        ListedImage(
            (PurePosixPath(part) / IMAGES / path.name).as_posix(),
            (PurePosixPath(part) / MASKS / f"{path.stem}.png").as_posix(),
            None,
        )
        for path in paths
    ]
