"""A miniature COCO tree in the true on-disk format: photographs and the JSON of instances, of both parts."""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from fewshot.data.folds import COCO_CLASSES

HEIGHT, WIDTH = 60, 80

PERSON, BICYCLE, CAR, STOP_SIGN, TIE = 1, 2, 3, 12, 28
"""Labels; COCO numbers a stop sign 13 and a tie 32."""

# COCO leaves out these numbers of its 90.
_GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
NUMBERS = [number for number in range(1, 91) if number not in _GAPS]
"""COCO's number of each class."""


def box(left: int, top: int, right: int, bottom: int) -> list[float]:
    """Corners of the pixels from `left` to before `right`, `top` to before `bottom`."""
    return [float(value) for value in (left, top, right, top, right, bottom, left, bottom)]


def runs(left: int, top: int, right: int, bottom: int) -> dict[str, Any]:
    """The same as run lengths that are not packed, as COCO has its crowds: down one column after another."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[top:bottom, left:right] = 1
    flat = mask.flatten(order="F")
    edges = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), flat.size]
    lengths = [stop - start for start, stop in pairwise(edges)]
    return {"counts": [0, *lengths] if flat[0] else lengths, "size": [HEIGHT, WIDTH]}


def packed(left: int, top: int, right: int, bottom: int) -> dict[str, Any]:
    """The same as pycocotools packs it."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8, order="F")
    mask[top:bottom, left:right] = 1
    found: Any = coco.encode(mask)
    return {"counts": found["counts"].decode(), "size": list(found["size"])}


Shape = list[list[float]] | dict[str, Any]

Images = Mapping[str, Sequence[tuple[int, Shape, bool]]]
"""The objects of each image: label, outline and whether it is a crowd."""

TRAIN: dict[str, list[tuple[int, Shape, bool]]] = {
    # A person in two parts, behind a post.
    "000000000009": [(PERSON, [box(0, 0, 40, 55), box(45, 0, 80, 55)], False)],
    # A tie, listed before the person whom it lies on.
    "000000000025": [(TIE, [box(20, 10, 30, 40)], False), (PERSON, [box(5, 0, 65, 60)], False)],
    # A crowd, partly behind a car.
    "000000000030": [(PERSON, runs(0, 0, 80, 20), True), (CAR, packed(10, 10, 70, 50), False)],
    # Two bicycles, small.
    "000000000034": [(BICYCLE, [box(0, 0, 20, 20)], False), (BICYCLE, [box(40, 30, 60, 50)], False)],
    # A crowd and nothing else, and nothing at all: neither is used.
    "000000000036": [(PERSON, runs(0, 0, 80, 60), True)],
    "000000000049": [],
}
VAL: dict[str, list[tuple[int, Shape, bool]]] = {
    "000000000042": [(STOP_SIGN, [box(10, 0, 70, 60)], False)],
    "000000000073": [(PERSON, [box(0, 0, 30, 60)], False), (PERSON, [box(40, 0, 70, 60)], False)],
}


def write_tree(root: Path, train: Images = TRAIN, val: Images = VAL) -> None:
    for part, images in (("train2014", train), ("val2014", val)):
        write_annotations(root, part, images)
        (root / part).mkdir(parents=True, exist_ok=True)
        for name in images:
            photograph = np.random.default_rng(int(name)).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            Image.fromarray(photograph).save(root / part / f"COCO_{part}_{name}.jpg", quality=50)


def write_annotations(root: Path, part: str, images: Images) -> Path:
    annotations = [
        {
            "id": 100 * int(name) + place,
            "image_id": int(name),
            "category_id": NUMBERS[label - 1],
            "segmentation": shape,
            "iscrowd": int(crowd),
            "area": 1.0,
            "bbox": [0.0, 0.0, 1.0, 1.0],
        }
        for name, objects in images.items()
        for place, (label, shape, crowd) in enumerate(objects)
    ]
    content = {
        "info": {"year": 2014},
        "licenses": [{"id": 1, "name": "licence"}],
        "images": [
            {"id": int(name), "file_name": f"COCO_{part}_{name}.jpg", "height": HEIGHT, "width": WIDTH, "license": 1}
            for name in images
        ],
        "annotations": annotations,
        # Not in their order, as nothing says that they must be.
        "categories": [
            {"id": number, "name": name, "supercategory": "thing"}
            for number, name in reversed(list(zip(NUMBERS, COCO_CLASSES, strict=True)))
        ],
    }
    path = root / "annotations" / f"instances_{part}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")
    return path
