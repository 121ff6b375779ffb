"""COCO's annotations of objects, read without what few-shot segmentation does not need, and painted as masks."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from fewshot.data.decoding import decode_runs, fill_polygons
from fewshot.episode import IGNORED


class UnusableAnnotationsError(ValueError):
    """An annotation file does not say which objects are where."""


@dataclass(frozen=True)
class AnnotatedObject:
    """An object, or a crowd of objects of a class that nobody told apart.

    Attributes:
        image_id: COCO's number of its image.
        category: COCO's number of its class.
        crowd: Whether it is a crowd.
        polygons: Its parts, each as x and y of one corner after another; empty where `runs` says the pixels.
        runs: Its pixels in run lengths, with `size` and `counts`; None where `polygons` say them.
    """

    image_id: int
    category: int
    crowd: bool
    polygons: tuple[np.ndarray, ...]
    runs: dict[str, Any] | None


@dataclass(frozen=True)
class AnnotatedImage:
    """An image and its objects.

    Attributes:
        name: Name of its file, without folders.
        height: Pixels from top to bottom.
        width: Pixels from left to right.
        objects: In the order of the annotation file, at least one of which is no crowd.
        labels: The label of each object's class.
    """

    name: str
    height: int
    width: int
    objects: tuple[AnnotatedObject, ...]
    labels: tuple[int, ...]

    @property
    def crowds(self) -> tuple[int, ...]:
        """The labels of its crowds, in rising order."""
        return tuple(sorted({label for found, label in zip(self.objects, self.labels, strict=True) if found.crowd}))


@dataclass(frozen=True)
class Painting:
    """The masks of an image.

    Attributes:
        labels: Class of every pixel; 0 is background, 255 unknown.
        objects: Object of every pixel, numbered from 1 whatever their classes; likewise.
    """

    labels: UInt8[np.ndarray, "height width"]
    objects: UInt8[np.ndarray, "height width"]


def read_annotations(path: Path, classes: tuple[str, ...]) -> tuple[AnnotatedImage, ...]:
    """Read an annotation file in COCO's format, such as `instances_train2014.json`.

    Its categories, in rising order of their numbers, get the labels from 1 on. Images without an object are left out,
    crowds not counted.

    Args:
        path: The file.
        classes: Names that the categories must have, in that order.

    Raises:
        FileNotFoundError: There is no such file.
        UnusableAnnotationsError: It is of another format, cut short, or about other classes.
    """
    try:
        with path.open(encoding="utf-8") as file:
            # Objects shrink while the file is read: as lists of numbers, their corners would take four times the room.
            content = json.load(file, object_hook=_shrink)
        labels = _number_categories(content["categories"], classes, path)
        objects: dict[int, list[AnnotatedObject]] = defaultdict(list)
        for found in content["annotations"]:
            objects[found.image_id].append(found)
        return tuple(
            AnnotatedImage(
                Path(image["file_name"]).name,
                image["height"],
                image["width"],
                tuple(objects[image["id"]]),
                tuple(labels[found.category] for found in objects[image["id"]]),
            )
            for image in content["images"]
            if not all(found.crowd for found in objects[image["id"]])
        )
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"The annotations must be a file that is there. Found nothing at {path}. Fetch COCO's annotations of 2014 "
            f"and unpack them into the data folder."
        ) from error
    except UnusableAnnotationsError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnusableAnnotationsError(
            f"An annotation file must be of COCO's format for objects. Found another, or half a file, at {path} "
            f"({type(error).__name__}: {error}). Fetch it again."
        ) from error


def paint(image: AnnotatedImage, *, legacy: bool = False) -> Painting:
    """Paint the masks of an image.

    Crowds are unknown, and lie under everything. Objects lie over them, each over those that are larger: where two
    annotations overlap, the smaller object is in front or is part of the larger one (a tie on a person).

    Args:
        image: What to paint.
        legacy: Paint as RePRI's script does, from which the masks of several repositories come: of each object only the
            first polygon, in the order of the file, and no crowds.

    Raises:
        UnusableAnnotationsError: Run lengths do not fit the image, or it has more objects than bytes can number.
    """
    singles = [(found, label) for found, label in zip(image.objects, image.labels, strict=True) if not found.crowd]
    if len(singles) >= IGNORED:
        raise UnusableAnnotationsError(
            f"An image must have fewer than {IGNORED} objects. Found {len(singles)} in {image.name}. Split the image."
        )
    labels = np.zeros((image.height, image.width), dtype=np.uint8)
    for found in image.objects:
        if found.crowd and not legacy:
            labels[_fill(found, image)] = IGNORED
    objects = labels.copy()
    shapes = [_fill(found, image, first=legacy) for found, _ in singles]
    order = range(len(shapes)) if legacy else sorted(range(len(shapes)), key=lambda place: -int(shapes[place].sum()))
    for place in order:
        labels[shapes[place]] = singles[place][1]
        objects[shapes[place]] = place + 1
    return Painting(labels, objects)


def _shrink(value: dict[str, Any]) -> dict[str, Any] | AnnotatedObject:
    if "segmentation" not in value:
        return value
    shape = value["segmentation"]
    # Fewer than three corners enclose nothing, and pycocotools takes two of them for a box.
    polygons = () if isinstance(shape, dict) else tuple(np.array(part, float) for part in shape if len(part) >= 6)
    runs = shape if isinstance(shape, dict) else None
    return AnnotatedObject(value["image_id"], value["category_id"], bool(value.get("iscrowd", 0)), polygons, runs)


def _number_categories(categories: list[dict[str, Any]], classes: tuple[str, ...], path: Path) -> dict[int, int]:
    in_order = sorted(categories, key=lambda category: category["id"])
    names = tuple(category["name"] for category in in_order)
    if names != classes:
        raise UnusableAnnotationsError(
            f"The categories of COCO-20i must be the {len(classes)} of COCO. Found {len(names)} in {path}, "
            f"{', '.join(names[:3])} and so on. Use COCO's own annotations, or a `Folder` of masks for other classes."
        )
    return {category["id"]: label for label, category in enumerate(in_order, start=1)}


def _fill(found: AnnotatedObject, image: AnnotatedImage, *, first: bool = False) -> Bool[np.ndarray, "height width"]:
    if found.runs is None:
        return fill_polygons(found.polygons[:1] if first else found.polygons, image.height, image.width)
    shape = decode_runs(found.runs, image.height, image.width)
    if shape is None:
        raise UnusableAnnotationsError(
            f"Run lengths must cover the image, {image.height} x {image.width}. Found others, of size "
            f"{found.runs['size']}, in {image.name}. Fetch the annotations again."
        )
    return shape
