"""Outlines and run lengths of COCO's annotations as masks, by pycocotools."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pycocotools.mask
from jaxtyping import Bool

# Its type stubs know neither several polygons nor run lengths that are not packed.
_coco: Any = pycocotools.mask


def fill_polygons(polygons: Sequence[np.ndarray], height: int, width: int) -> Bool[np.ndarray, "height width"]:
    """Fill polygons, each given as x and y of one corner after another; nothing where there are none."""
    if not polygons:
        return np.zeros((height, width), dtype=bool)
    return _coco.decode(_coco.merge(_coco.frPyObjects(list(polygons), height, width))).astype(bool)


def decode_runs(runs: dict[str, Any], height: int, width: int) -> Bool[np.ndarray, "height width"] | None:
    """Decode run lengths, which go down one column after another and begin with pixels outside.

    Args:
        runs: `counts`, as a list or packed by pycocotools, and `size`, the height and width.
        height: Pixels that the mask must have from top to bottom.
        width: Pixels that it must have from left to right.

    Returns:
        The mask; None where the run lengths are not those of a mask of this size.
    """
    counts = runs["counts"]
    if tuple(runs["size"]) != (height, width):
        return None
    if isinstance(counts, list):
        whole = sum(counts) == height * width and min(counts) >= 0
        return _coco.decode(_coco.frPyObjects(runs, height, width)).astype(bool) if whole else None
    try:
        shape = _coco.decode(runs)
    except ValueError:
        return None
    # Packed runs that are too short leave the rest of the mask as the memory happened to be; packing tells.
    written = counts.encode() if isinstance(counts, str) else counts
    return shape.astype(bool) if shape.max(initial=0) <= 1 and _coco.encode(shape)["counts"] == written else None
