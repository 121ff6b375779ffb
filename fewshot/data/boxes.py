"""Bounding boxes in place of support masks: what somebody draws who has less time."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from fewshot.episode import IGNORED
from fewshot.options import require_choice

AnnotationKind = Literal["mask", "box"]

Box = tuple[int, int, int, int]
"""`(x0, y0, x1, y1)` in pixels from the upper left corner; `x1` and `y1` are the first column and row outside."""


@dataclass(frozen=True)
class SupportAnnotation:
    """What the supports of a test are labelled with. Training and the truth of queries always have masks.

    CMNet (table VIII) makes boxes "by locating every object" and does not say how.

    Attributes:
        kind: `mask`, or `box` for filled boxes in its place.
        min_pixels: Objects of fewer pixels get no box, at least 1; where all are smaller, the largest gets one.
        instances: Make a box for each object of the data set's instance masks, as PANet does for the largest of them;
            otherwise for each connected part of the mask, corners connecting, as BAM does. A data set without instance
            masks is refused.
        restore_void: Keep unknown pixels unknown, as BAM does. They outline the object, which a box should not.
    """

    kind: AnnotationKind = "mask"
    min_pixels: int = 16
    instances: bool = False
    restore_void: bool = False

    def __post_init__(self) -> None:
        """Refuse kinds that do not exist, and what only boxes have beside masks."""
        require_choice("kind", self.kind, get_args(AnnotationKind))
        if self.min_pixels < 1:
            raise ValueError(
                f"`min_pixels` must be at least 1. Found `min_pixels = {self.min_pixels}`. Pass 1 for a box around "
                f"every object."
            )
        if self.kind == "mask" and (self.instances or self.restore_void):
            raise ValueError(
                f"`instances` and `restore_void` must be off where supports have masks. Found `instances = "
                f"{self.instances}`, `restore_void = {self.restore_void}`. Pass `kind = 'box'`, or leave them out."
            )


def boxes_from_mask(
    mask: UInt8[Tensor, "height width"],
    annotation: SupportAnnotation,
    instances: Bool[Tensor, "instances height width"] | None = None,
) -> UInt8[Tensor, "height width"]:
    """Fill the boxes of the objects of a mask.

    Args:
        mask: 1 on the object, 0 elsewhere, `IGNORED` where unknown.
        annotation: Which objects get boxes, and what becomes of unknown pixels.
        instances: The objects one by one; None for the connected parts of the mask.

    Returns:
        1 in the boxes and 0 elsewhere, with `restore_void` also `IGNORED` where it was.

    Raises:
        ValueError: There is no object.
    """
    if instances is None:
        parts = np.zeros(tuple(mask.shape), np.int32)
        ndimage.label(mask.numpy() == 1, structure=np.ones((3, 3)), output=parts)
        objects = _measure(parts)
    else:
        objects = [found for each in instances.numpy() for found in _measure(each.astype(np.uint8))]
    if not objects:
        raise ValueError(
            "Boxes must be made of at least one object. Found none in the mask or the instances. Draw episodes from a "
            "pool whose images show the class, or make its index again if the masks have changed."
        )
    large = [box for box, pixels in objects if pixels >= annotation.min_pixels]
    filled = mask_from_boxes((mask.shape[0], mask.shape[1]), large or [max(objects, key=itemgetter(1))[0]])
    return filled.masked_fill_(mask == IGNORED, IGNORED) if annotation.restore_void else filled


def mask_from_boxes(size: tuple[int, int], boxes: Sequence[Box]) -> UInt8[Tensor, "height width"]:
    """Make the mask of a support out of boxes around its objects.

    Args:
        size: Height and width of the image.
        boxes: At least one; they may overlap.

    Returns:
        1 in the boxes, 0 elsewhere.

    Raises:
        ValueError: There is no box, or one is empty or reaches out of the image.
    """
    if not boxes:
        raise ValueError("`boxes` must hold at least one box. Found none. Draw one around each object.")
    height, width = size
    mask = torch.zeros(height, width, dtype=torch.uint8)
    for box in boxes:
        left, top, right, bottom = box
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise ValueError(
                f"A box must be (x0, y0, x1, y1) with 0 <= x0 < x1 <= {width} and 0 <= y0 < y1 <= {height}, the size "
                f"of the image. Found {box}. Count pixels from the upper left corner, x to the right, and cut the box "
                f"off at the border."
            )
        mask[top:bottom, left:right] = 1
    return mask


def _measure(parts: NDArray[np.integer]) -> list[tuple[Box, int]]:
    """Give the box and the number of pixels of every part, the parts being numbered from 1."""
    pixels = np.bincount(parts.ravel())[1:].tolist()
    slices = ndimage.find_objects(parts)
    return [
        ((columns.start, rows.start, columns.stop, rows.stop), count)
        for (rows, columns), count in zip(slices, pixels, strict=True)
    ]
