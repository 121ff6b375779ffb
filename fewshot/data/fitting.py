"""Images of any size on the canvas of a network in a test, and the network's answers back at any size."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Integer, UInt8
from torch import Tensor
from torch.nn import functional

from fewshot.data.transforms import MEAN_COLOUR
from fewshot.episode import IGNORED
from fewshot.options import require_choice

Mode = Literal["pad", "square", "pfenet"]
"""How an image comes onto a square canvas.

`pad`: the longer side to the side of the canvas, aspect kept, in the upper left corner; the rest has the mean colour,
is not valid and takes part in nothing. `square`: stretched over the whole canvas, aspect lost (HSNet at 400, VAT,
DCAMA). `pfenet`: as `pad`, but both sides are rounded down to a multiple of 8 and the rest is black and counts as image
(PFENet at 473, BAM, CyCTR), so that features and prototypes see it.
"""

STEP = 8
"""Under `pfenet` the sides are multiples of this: the stride of the features."""


@dataclass(frozen=True)
class Fit:
    """How images are brought to the size of the network where nothing is drawn at random.

    Attributes:
        size: Side of the canvas in pixels, at least 8. 473 in PFENet and BAM, 400 in HSNet, 641 on COCO in PFENet.
        mode: How an image comes onto it.
    """

    size: int = 473
    mode: Mode = "pad"

    def __post_init__(self) -> None:
        """Refuse canvases that features cannot be taken from, and modes that do not exist."""
        if self.size < STEP:
            raise ValueError(
                f"`size` must be at least {STEP}. Found `size = {self.size}`. Pass the side of the canvas in pixels, "
                f"such as 473."
            )
        require_choice("mode", self.mode, get_args(Mode))


@dataclass(frozen=True)
class Placement:
    """Where an image lies on its canvas: in the upper left corner.

    Attributes:
        fitted_size: Height and width of the image on the canvas.
        canvas_size: Height and width of the canvas.
        original_size: Height and width that the image came with.
    """

    fitted_size: tuple[int, int]
    canvas_size: tuple[int, int]
    original_size: tuple[int, int]


@dataclass(frozen=True)
class FittedImage:
    """An image on a canvas.

    Attributes:
        pixels: RGB of the whole canvas.
        mask: 1 on the object, 0 elsewhere, `IGNORED` where unknown, beside the image too.
        valid: True on the image, False on padding.
        placement: What is needed to go back.
    """

    pixels: UInt8[Tensor, "3 side side"]
    mask: UInt8[Tensor, "side side"]
    valid: Bool[Tensor, "side side"]
    placement: Placement


def fit_image(
    image: UInt8[Tensor, "3 height width"], mask: UInt8[Tensor, "height width"] | None, fit: Fit
) -> FittedImage:
    """Bring an image and its mask onto a square canvas.

    Masks take their nearest neighbour; an object so small that it would vanish marks every pixel it touches. An image
    more than `size` times as long as wide keeps one row or column (8 under `pfenet`).

    Args:
        image: RGB, any size.
        mask: 1 on the object, 0 elsewhere, `IGNORED` where unknown; None where all of it is.
        fit: The canvas, and how the image comes onto it.
    """
    height, width = image.shape[-2:]
    rows, columns = fitted_size(height, width, fit)
    side = fit.size
    colour = (0, 0, 0) if fit.mode == "pfenet" else MEAN_COLOUR
    pixels = torch.tensor(colour, dtype=torch.uint8).view(3, 1, 1).repeat(1, side, side)
    pixels[:, :rows, :columns] = resize_pixels(image, (rows, columns))
    valid = torch.ones(side, side, dtype=torch.bool)
    if fit.mode == "pad":
        valid[rows:] = valid[:, columns:] = False
    placement = Placement((rows, columns), (side, side), (height, width))
    return FittedImage(pixels, fit_mask(mask, placement), valid, placement)


def fit_mask(mask: UInt8[Tensor, "height width"] | None, placement: Placement) -> UInt8[Tensor, "side side"]:
    """Bring a mask to where its image lies, as `fit_image` does; everything beside the image is `IGNORED`."""
    fitted = torch.full(placement.canvas_size, IGNORED, dtype=torch.uint8)
    if mask is not None:
        rows, columns = placement.fitted_size
        fitted[:rows, :columns] = resize_labels(mask, (rows, columns))
    return fitted


def restore_logits(
    logits: Float[Tensor, "channels canvas_height canvas_width"], placement: Placement, size: tuple[int, int]
) -> Float[Tensor, "channels height width"]:
    """Bring what a network answered on a canvas to another size, bilinearly, in single precision.

    Only the part with the image on it is stretched. (PFENet stretches the canvas, whose image is up to 8 pixels
    short of it.)

    Args:
        logits: Of the whole canvas; maps of the canvas, of any number of channels, likewise.
        placement: Where the image lies.
        size: Height and width to bring it to: `placement.original_size`, or another one to score at.

    Raises:
        ValueError: The logits have not the size of the canvas.
    """
    if logits.shape[-2:] != placement.canvas_size:
        raise ValueError(
            f"Logits must have the size of the canvas, {placement.canvas_size[0]} x {placement.canvas_size[1]}. Found "
            f"{logits.shape[-2]} x {logits.shape[-1]}. Pass them as the network gives them, not those of its nodes."
        )
    rows, columns = placement.fitted_size
    return functional.interpolate(logits[None, :, :rows, :columns].float(), size, mode="bilinear")[0]


def resize_pixels(image: UInt8[Tensor, "3 height width"], size: tuple[int, int]) -> UInt8[Tensor, "3 rows columns"]:
    """Resize a photograph, with antialiasing where it becomes smaller."""
    if image.shape[-2:] == size:
        return image
    resized = functional.interpolate(image[None].float(), size, mode="bilinear", antialias=True)[0]
    return resized.round_().clamp_(0, 255).to(torch.uint8)


def resize_labels(
    labels: Integer[Tensor, "height width"], size: tuple[int, int], *, unknown: int = IGNORED
) -> Integer[Tensor, "rows columns"]:
    """Resize labels without ever mixing them.

    A class so small that it would vanish marks every pixel it touches.

    Args:
        labels: 0 is background, `unknown` unknown, everything else a class.
        size: Height and width to bring them to.
        unknown: Label of pixels that may vanish, as background may.
    """
    if labels.shape == size:
        return labels
    # Through floats, which hold 16-bit labels exactly: not every kind of integer can be resized.
    resized = functional.interpolate(labels[None, None].float(), size, mode="nearest-exact")[0, 0].to(labels.dtype)
    if size[0] >= labels.shape[0] and size[1] >= labels.shape[1]:
        return resized
    for vanished in sorted(_list_classes(labels) - _list_classes(resized) - {0, unknown}):
        touched = functional.adaptive_max_pool2d((labels == vanished)[None].float(), size)[0] > 0
        resized = resized.masked_fill(touched, vanished)
    return resized


def fitted_size(height: int, width: int, fit: Fit) -> tuple[int, int]:
    """Give the height and width of an image on its canvas."""
    if fit.mode == "square":
        return fit.size, fit.size
    scale = fit.size / max(height, width)
    if fit.mode == "pad":
        return max(1, round(height * scale)), max(1, round(width * scale))
    # The longer side is `size` itself: in floating point 473 / 3 * 3 may fall short of 473.
    sides = (fit.size if side == max(height, width) else int(side * scale) for side in (height, width))
    rows, columns = (max(STEP, side // STEP * STEP) for side in sides)
    return rows, columns


def _list_classes(labels: Integer[Tensor, "height width"]) -> set[int]:
    return set(labels.unique().tolist())
