"""Miniature folders of one's own, in both layouts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 10, 16
CLASSES = ("cup", "spoon", "fork", "traffic light")

SHARED: Mapping[str, Mapping[int, int]] = {
    "a": {1: 40},
    "b": {1: 40, 2: 30},
    "c": {2: 50},
    "d": {3: 40, 1: 3},
    "e": {3: 40},
    "f": {4: 40},
    "g": {4: 40, 2: 20},
    "h": {},
}
"""Pixels of each class in each image; ten more are unknown."""


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), (200, 100, 50)).save(path)


def write_mask(path: Path, pixels: Mapping[int, int], *, unknown: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = [label for label, count in pixels.items() for _ in range(count)]
    values += [0] * (HEIGHT * WIDTH - len(values) - unknown) + [255] * unknown
    Image.fromarray(np.array(values, dtype=np.uint8).reshape(HEIGHT, WIDTH)).save(path)


def write_shared(root: Path, images: Mapping[str, Mapping[int, int]] = SHARED) -> None:
    """Masks of many classes; some photographs are JPEG, some PNG, and something else lies between them."""
    for place, (name, pixels) in enumerate(images.items()):
        write_image(root / "images" / f"{name}{('.jpg', '.JPG', '.png')[place % 3]}")
        write_mask(root / "masks" / f"{name}.png", pixels, unknown=10)
    (root / "images/.DS_Store").write_bytes(b"x")
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES), "utf-8")


def write_classes(root: Path, images: Mapping[str, Sequence[int]]) -> None:
    """Masks of one class each; their object is 255, as black-and-white masks are painted."""
    for name, sizes in images.items():
        for number, size in enumerate(sizes):
            write_image(root / name / "images" / f"{number}.jpg")
            write_mask(root / name / "masks" / f"{number}.png", {255: size})
    (root / "notes").mkdir()
