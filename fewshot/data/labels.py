"""The class of every pixel, and the mask of one class that an episode is about."""

from dataclasses import dataclass

from jaxtyping import Int16, UInt8
from torch import Tensor

from fewshot.episode import IGNORED

UNKNOWN = -1
"""Label of pixels whose class nobody knows; apart from every class, of which FSS-1000 has more than bytes can count."""


@dataclass(frozen=True)
class LabelledImage:
    """A photograph at its own size and the class of every pixel.

    Attributes:
        image: RGB, 0 to 255.
        labels: 0 is background, `UNKNOWN` unknown, everything else a class of the index.
    """

    image: UInt8[Tensor, "3 height width"]
    labels: Int16[Tensor, "height width"]


def labels_from_bytes(stored: UInt8[Tensor, "height width"]) -> Int16[Tensor, "height width"]:
    """Take labels as palette images store them, where 255 is unknown."""
    return stored.short().masked_fill_(stored == IGNORED, UNKNOWN)


def mask_of_class(labels: Int16[Tensor, "height width"], class_id: int) -> UInt8[Tensor, "height width"]:
    """Reduce labels to an episode's mask: 1 where the class is, 0 elsewhere, `IGNORED` where the label is unknown."""
    return (labels == class_id).byte().masked_fill_(labels == UNKNOWN, IGNORED)
