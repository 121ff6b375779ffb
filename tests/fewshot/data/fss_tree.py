"""Miniature FSS-1000 trees in the true on-disk format: a folder of ten pictures and masks for each class, and lists."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 24
TRAIN = ("fountain", "taxi", "assult_rifle")
TEST = ("bus", "abe's_flyingfish")


def write_tree(root: Path, names: Sequence[str] = (*TRAIN, *TEST)) -> None:
    """Picture `number` of a class shows an object of `number` rows; its border is grey on both sides of the middle."""
    for place, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for number in range(1, 11):
            picture = np.random.default_rng((place, number)).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(picture).save(root / name / f"{number}.jpg", quality=50)
            mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
            mask[:number] = 255
            mask[number - 1] = 128
            mask[number] = 127
            # The data set stores its masks in colours.
            Image.fromarray(mask).convert("RGB").save(root / name / f"{number}.png")


def write_names(path: Path, names: Sequence[str]) -> Path:
    path.write_bytes("".join(f"{name}\r\n" for name in names).encode())
    return path
