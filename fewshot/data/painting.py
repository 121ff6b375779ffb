"""Masks made once from COCO's annotations, into a folder, so that no annotation is read when episodes are.

labels/train2014/x.png    class of every pixel, 1 to 80; 0 is background, 255 unknown
objects/train2014/x.png   object of every pixel, numbered from 1
train.txt                 the images with an object, as lines `train2014/x.jpg labels/train2014/x.png`
crowds.json               the classes of the crowds that those images show, which are unknown pixels of the masks
source.json               what they were made from, and whether all of them are there
"""

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from fewshot.data.annotations import AnnotatedImage, paint, read_annotations
from fewshot.data.scanning import map_files
from fewshot.data.storage import write_whole

LABELS, OBJECTS = "labels", "objects"
PARTS = ("train2014", "val2014")
LISTS = ("train.txt", "val.txt")
"""Names of the lists of both parts."""

_CROWDS = "crowds.json"
_SOURCE = "source.json"
_VERSION = 1


class ForeignMasksError(ValueError):
    """A folder holds masks that were made from something else, or in another way."""


@dataclass(frozen=True)
class _Task:
    image: AnnotatedImage
    part: str
    folder: Path
    legacy: bool

    @property
    def labels(self) -> Path:
        return self.folder / LABELS / self.part / f"{Path(self.image.name).stem}.png"

    @property
    def objects(self) -> Path:
        return self.folder / OBJECTS / self.part / f"{Path(self.image.name).stem}.png"


def keep_masks(root: Path, folder: Path, classes: tuple[str, ...], *, legacy: bool = False, processes: int = 1) -> str:
    """Make the masks that are missing in a folder; an interruption leaves those that are complete, to go on from.

    Args:
        root: The data folder, with `annotations/instances_train2014.json` and the like of `val2014`.
        folder: Where the masks are, or shall be.
        classes: Names of the classes, in the order of their labels.
        legacy: As for `paint`.
        processes: How many processes paint, at least 1.

    Returns:
        A hash of the annotations and of how masks are made from them.

    Raises:
        FileNotFoundError: The annotations are missing.
        ForeignMasksError: The folder holds masks of other annotations, or made in the other way.
        UnusableAnnotationsError: As for `read_annotations` and `paint`.
    """
    files = {part: root / "annotations" / f"instances_{part}.json" for part in PARTS}
    source = {"version": _VERSION, "legacy": legacy, **{part: _hash_file(path) for part, path in files.items()}}
    marker = folder / _SOURCE
    if not _is_complete(marker, source):
        write_whole(marker, json.dumps({**source, "complete": False}).encode())
        crowds: dict[str, tuple[int, ...]] = {}
        for part, name in zip(PARTS, LISTS, strict=True):
            images = read_annotations(files[part], classes)
            _paint_part([_Task(image, part, folder, legacy) for image in images], part, processes)
            lines = (f"{part}/{image.name} {LABELS}/{part}/{Path(image.name).stem}.png\n" for image in images)
            write_whole(folder / name, "".join(lines).encode())
            if not legacy:
                crowds |= {f"{part}/{image.name}": image.crowds for image in images if image.crowds}
        write_whole(folder / _CROWDS, json.dumps(crowds).encode())
        write_whole(marker, json.dumps({**source, "complete": True}).encode())
    return hashlib.sha256(json.dumps(source).encode()).hexdigest()


def read_crowds(folder: Path) -> dict[str, tuple[int, ...]]:
    """Read which images show crowds of which classes from a folder that `keep_masks` has made.

    Returns:
        Labels in rising order by the image's name in the lists. Empty for legacy masks, which know no crowds.
    """
    return {name: tuple(labels) for name, labels in json.loads((folder / _CROWDS).read_bytes()).items()}


def _is_complete(marker: Path, source: dict[str, object]) -> bool:
    if not marker.exists():
        return False
    try:
        found = json.loads(marker.read_bytes())
        complete = found.pop("complete")
    except (ValueError, TypeError, KeyError, AttributeError):
        found, complete = {}, False
    if found != source:
        raise ForeignMasksError(
            f"A folder of masks must have been made from the annotations it is used with, and in the same way. Found "
            f"{found} in {marker} where {source} is asked for. Delete the folder, or name another one."
        )
    # Folders made before crowds were noted have all masks, and no such file.
    return complete and marker.with_name(_CROWDS).is_file()


def _paint_part(tasks: list[_Task], part: str, processes: int) -> None:
    missing = [task for task in tasks if not (task.labels.exists() and task.objects.exists())]
    with (
        map_files(_paint_image, missing, processes=processes) as painted,
        tqdm(painted, desc=f"painting {part}", total=len(tasks), initial=len(tasks) - len(missing), unit="mask") as bar,
    ):
        for _ in bar:
            pass


def _paint_image(task: _Task) -> None:
    painting = paint(task.image, legacy=task.legacy)
    for path, pixels in ((task.labels, painting.labels), (task.objects, painting.objects)):
        packed = io.BytesIO()
        Image.fromarray(pixels).save(packed, format="PNG")
        write_whole(path, packed.getvalue())


def _hash_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"The annotations must be a file that is there. Found nothing at {path}. Fetch COCO's annotations of 2014 "
            f"and unpack them into the data folder."
        ) from error
