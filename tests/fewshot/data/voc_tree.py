"""Miniature VOC trees in the true on-disk format: JPEG photographs, palette PNG masks, list files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 60, 90
PIXELS = HEIGHT * WIDTH
VOID = 30
"""Pixels of 255 in every mask."""

TRAIN: Mapping[str, Mapping[int, int]] = {
    "2007_000001": {15: 2048},
    "2007_000002": {15: 2047},
    "2008_000003": {12: 2100, 3: 2100},
    "2008_000004": {12: 2400, 8: 10, 3: 1},
    "2009_000005": {3: 3000},
    "2009_000006": {8: 2500, 20: 2200},
}
VAL: Mapping[str, Mapping[int, int]] = {
    "2010_000001": {3: 2500, 15: 2100},
    "2010_000002": {4: 2048, 3: 100},
    "2010_000003": {15: 3000},
}
"""Pixels of each class of PASCAL VOC in each image."""


def voc_palette() -> list[int]:
    """The colour map of VOC: three bits of the label after another go to red, green and blue, highest first."""
    colours = []
    for label in range(256):
        for channel in range(3):
            bits = [(label >> (3 * place + channel)) & 1 for place in range(3)]
            colours.append(sum(bit << (7 - place) for place, bit in enumerate(bits)))
    return colours


def write_mask(path: Path, pixels: Mapping[int, int]) -> None:
    labels = np.zeros(PIXELS, dtype=np.uint8)
    labels[-VOID:] = 255
    start = 0
    for label, count in pixels.items():
        labels[start : start + count] = label
        start += count
    assert start <= PIXELS - VOID
    _save_labels(path, labels)


def write_objects(path: Path, objects: Mapping[int, tuple[int, int]]) -> None:
    """A mask of single objects, as VOC's `SegmentationObject`: which pixels, from ... to before ..., along rows."""
    labels = np.zeros(PIXELS, dtype=np.uint8)
    labels[-VOID:] = 255
    for number, (start, stop) in objects.items():
        labels[start:stop] = number
    _save_labels(path, labels)


def _save_labels(path: Path, labels: np.ndarray) -> None:
    image = Image.frombytes("P", (WIDTH, HEIGHT), labels.tobytes())
    image.putpalette(voc_palette())
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def write_tree(root: Path, images: Mapping[str, Mapping[int, int]]) -> None:
    rng = np.random.default_rng(0)
    (root / "JPEGImages").mkdir(parents=True, exist_ok=True)
    for name, pixels in images.items():
        write_mask(root / "SegmentationClassAug" / f"{name}.png", pixels)
        photograph = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(photograph).save(root / "JPEGImages" / f"{name}.jpg", quality=50)


def write_image_list(path: Path, names: Sequence[str]) -> Path:
    """As PFENet's lists."""
    path.write_text("".join(f"JPEGImages/{name}.jpg SegmentationClassAug/{name}.png\n" for name in names), "utf-8")
    return path


def write_pair_list(path: Path, pairs: Sequence[tuple[str, int]]) -> Path:
    """As HSNet's lists."""
    path.write_text("".join(f"{name}__{class_id:02}\n" for name, class_id in pairs), "utf-8")
    return path


def write_shared(root: Path) -> Path:
    """The tree that tests share, with the two lists `train.txt` and `val.txt`."""
    write_tree(root, {**TRAIN, **VAL})
    write_image_list(root / "train.txt", list(TRAIN))
    write_image_list(root / "val.txt", list(VAL))
    return root
