"""A photograph that somebody gives to the page: bounded in bytes and pixels, decoded in memory."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from fewshot.data.reading import UnreadableImageError, decode_image, read_image, read_labels

MAX_BYTES = 20_000_000
"""Of a file: about what a JPEG of 50 million pixels takes, and more are not decoded."""
LONGER_SIDE = 1024
"""In pixels: larger photographs are scaled down to it, more than a network sees and as much as a screen shows."""


@dataclass(frozen=True)
class Photograph:
    """A photograph as the page works with it.

    Attributes:
        name: Of its file.
        image: RGB, upright, its longer side at most `LONGER_SIDE`.
        original_size: Width and height that it came with, upright.
    """

    name: str
    image: Image.Image
    original_size: tuple[int, int]


def read_photograph(content: bytes, name: str) -> Photograph:
    """Read an uploaded file.

    Raises:
        UnreadableImageError: It has too many bytes or pixels, is cut short, or no JPEG or PNG of 8 bits.
    """
    if len(content) > MAX_BYTES:
        raise UnreadableImageError(explain_refusal(len(content), name))
    return _scale_down(decode_image(content, name), name)


def load_example(folder: Path) -> tuple[Photograph, Image.Image, Photograph]:
    """Read the example that `fewshot demo` leaves: a support, its mask (255 on the object), and a query.

    Raises:
        UnreadableImageError: A file is missing or damaged.
    """
    support, query = (_scale_down(read_image(folder / name), name) for name in ("support.png", "query.png"))
    labels = read_labels(folder / "support_mask.png")
    mask = Image.fromarray(((labels == 1) * 255).to(torch.uint8).numpy())
    return support, mask.resize(support.image.size, Image.Resampling.NEAREST), query


def explain_refusal(count: int, name: str) -> str:
    """Say why a file cannot be used of which only the size in bytes and the name are known: for one of the two."""
    if count > MAX_BYTES:
        return (
            f"A photograph must have at most {MAX_BYTES / 1e6:.0f} MB. Found {count / 1e6:.1f} MB in {name}. Scale it "
            f"down, or save it as JPEG."
        )
    return f"A photograph must be a JPEG or PNG file. Found something else in {name}. Convert it first."


def _scale_down(pixels: UInt8[Tensor, "3 height width"], name: str) -> Photograph:
    image = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    original_size = image.size
    image.thumbnail((LONGER_SIDE, LONGER_SIDE), Image.Resampling.LANCZOS)
    return Photograph(name, image, original_size)
