"""What shows the object in a support: a mask, or boxes around it."""

from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from fewshot.data.boxes import Box, mask_from_boxes
from fewshot.data.reading import ImageSource, describe_source, read_labels, select_object

Annotation = ImageSource | Box | Sequence[Box]
"""A mask, or one or several boxes, in pixels of the upright image."""


def read_annotation(
    annotation: Annotation, source: ImageSource, image: UInt8[Tensor, "3 height width"], *, label: int | None = None
) -> UInt8[Tensor, "height width"]:
    """Make the mask of a support: 1 on the object, 255 where unknown, 0 elsewhere.

    Args:
        annotation: What shows the object.
        source: Where the image is from, for errors.
        image: The image.
        label: Which label is the object, for masks that hold several; plays no part for boxes.

    Raises:
        ValueError: A mask is empty, holds several labels or has another size than the image; a box is none or reaches
            out of the image; or a file cannot be read.
    """
    size = (image.shape[1], image.shape[2])
    if not isinstance(annotation, str | Path | Image.Image):
        return mask_from_boxes(size, list_boxes(annotation, describe_source(source)))
    labels = read_labels(annotation)
    if labels.shape != size:
        raise ValueError(
            f"A mask must have the size of its image. Found {labels.shape[0]} x {labels.shape[1]} (height x width) "
            f"in {describe_source(annotation)} where {describe_source(source)} has {size[0]} x {size[1]}. Pass the "
            f"mask that was drawn on this image, in the same orientation."
        )
    return select_object(labels, label=label, name=describe_source(annotation))


def list_boxes(given: object, name: str) -> list[Box]:
    """Take one box, or a sequence of them, from somebody's hands.

    Args:
        given: What should be either.
        name: What image it is for, in errors.

    Raises:
        ValueError: It is neither.
    """
    boxes: list[Any] = list(given) if isinstance(given, Sequence) else [given]
    # NumPy's whole numbers are none of Python's `int`.
    if boxes and isinstance(boxes[0], Integral):
        boxes = [given]
    for box in boxes:
        if not isinstance(box, Sequence) or len(box) != 4 or not all(isinstance(side, Integral) for side in box):
            raise ValueError(
                f"A support must be labelled by a mask or by boxes (x0, y0, x1, y1) of whole pixels. Found {box!r} for "
                f"{name}. Pass the path of a mask, or four whole numbers for each box."
            )
    return [(int(box[0]), int(box[1]), int(box[2]), int(box[3])) for box in boxes]
