"""Training images as training sees them: scaled, turned, blurred, mirrored and cropped at random."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer, UInt8
from kornia.filters import filter2d_separable
from kornia.geometry.transform import rotate
from torch import Tensor
from torch.nn import functional

from fewshot.data.fitting import resize_labels, resize_pixels
from fewshot.data.transforms import MEAN_COLOUR
from fewshot.episode import IGNORED

BLUR = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
"""The Gaussian of 5 x 5 pixels that OpenCV, and with it PFENet, takes where no width is given.

Sixteenths of 8-bit numbers add up exactly, whatever the order of summation: no thread count changes a picture.
"""


@dataclass(frozen=True)
class Augmentation:
    """What is drawn at random for each image of a training episode. The defaults are PFENet's on PASCAL-5i.

    CMNet names scaling, turning, mirroring and cropping; the blur is PFENet's. All on the image's own scale: `size` is
    about the size of the photographs of PASCAL and COCO, and other data sets need `fit`.

    Attributes:
        size: Side of the crop in pixels, at least 1. PFENet: 473, on COCO 641.
        scale: Smallest and largest factor, drawn evenly between them. PFENet: 0.9 to 1.1, on COCO 0.8 to 1.25.
        fit: Bring the longer side to `size` before it is scaled: for photographs far larger or smaller than the crop.
        rotation: Largest angle in degrees, 0 to 180, drawn evenly on both sides; corners turn out of the picture.
        rotation_probability: How often an image is turned, 0 for never.
        blur_probability: How often it is blurred by a Gaussian of 5 x 5 pixels.
        flip_probability: How often left and right change places.
        crop_draws: How many crops are tried, at least 1, until one keeps enough of the object; else the best is taken.
        keep_share: How much of the object's pixels is enough, between 0 and 1.
    """

    size: int = 473
    scale: tuple[float, float] = (0.9, 1.1)
    fit: bool = False
    rotation: float = 10.0
    rotation_probability: float = 0.5
    blur_probability: float = 0.5
    flip_probability: float = 0.5
    crop_draws: int = 30
    keep_share: float = 0.85

    def __post_init__(self) -> None:
        """Refuse sizes, factors and shares that mean nothing."""
        for name in ("size", "crop_draws"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"`{name}` must be at least 1. Found `{name} = {getattr(self, name)}`. "
                    f"PFENet takes {getattr(Augmentation, name)}."
                )
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(
                f"`scale` must be a smallest and a largest factor, both above 0. Found `scale = {self.scale}`. Pass "
                f"(1, 1) to leave sizes as they are."
            )
        if not 0 <= self.rotation <= 180:
            raise ValueError(
                f"`rotation` must lie between 0 and 180 degrees. Found `rotation = {self.rotation}`. Pass the largest "
                f"angle to either side."
            )
        for name in ("rotation_probability", "blur_probability", "flip_probability", "keep_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"`{name}` must lie between 0 and 1. Found `{name} = {getattr(self, name)}`. Pass a share, not a "
                    f"percentage."
                )


@dataclass(frozen=True)
class AugmentedImage:
    """A crop of a training image.

    Attributes:
        pixels: RGB; padding has the mean colour.
        labels: As they came; unknown on padding.
        valid: True on the image, False on padding: beside the image, and where turning has left its place empty.
    """

    pixels: UInt8[Tensor, "3 size size"]
    labels: Integer[Tensor, "size size"]
    valid: Bool[Tensor, "size size"]


def augment(
    image: UInt8[Tensor, "3 height width"],
    labels: Integer[Tensor, "height width"],
    augmentation: Augmentation,
    generator: torch.Generator,
    *,
    unknown: int = IGNORED,
) -> AugmentedImage:
    """Scale, turn, blur, mirror and crop a labelled image, in this order, by what `generator` draws.

    Labels take their nearest neighbour, so that classes never mix. An image that shows an object still does
    afterwards: one that turning would put wholly out of sight is not turned, and one that every crop tried would miss
    is cropped around a pixel of the object.

    Args:
        image: RGB, any size.
        labels: 0 is background, `unknown` unknown, everything else the object (or objects, of several classes).
        augmentation: What is drawn.
        generator: Where randomness comes from; no other generator is touched. Equally many numbers are taken whatever
            is switched off.
        unknown: Label of unknown pixels, and of padding.
    """
    draws = torch.rand(5 + 2 * augmentation.crop_draws, generator=generator, dtype=torch.float64).tolist()
    scale, turned, angle, blurred, flipped, *places = draws
    image, labels = _rescale(image, labels, scale, augmentation, unknown)
    valid = torch.ones(labels.shape, dtype=torch.bool)
    if turned < augmentation.rotation_probability and augmentation.rotation > 0:
        image, labels, valid = _turn(image, labels, augmentation.rotation * (2 * angle - 1), unknown)
    if blurred < augmentation.blur_probability:
        image = _blur(image)
    if flipped < augmentation.flip_probability:
        image, labels, valid = image.flip(-1), labels.flip(-1), valid.flip(-1)
    return _crop(_pad(AugmentedImage(image, labels, valid), augmentation.size, unknown), places, augmentation, unknown)


def make_generator(*numbers: int) -> torch.Generator:
    """Make the generator that belongs to some numbers, each at least 0: a seed first, then which item and image."""
    # Hashed, not added: neighbouring seeds and episodes must not share a stream.
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def _rescale(
    image: UInt8[Tensor, "3 height width"],
    labels: Integer[Tensor, "height width"],
    draw: float,
    augmentation: Augmentation,
    unknown: int,
) -> tuple[UInt8[Tensor, "3 rows columns"], Integer[Tensor, "rows columns"]]:
    smallest, largest = augmentation.scale
    factor = smallest + draw * (largest - smallest)
    if augmentation.fit:
        factor *= augmentation.size / max(labels.shape)
    size = (max(1, round(labels.shape[0] * factor)), max(1, round(labels.shape[1] * factor)))
    return resize_pixels(image, size), resize_labels(labels, size, unknown=unknown)


def _turn(
    image: UInt8[Tensor, "3 height width"], labels: Integer[Tensor, "height width"], degrees: float, unknown: int
) -> tuple[UInt8[Tensor, "3 height width"], Integer[Tensor, "height width"], Bool[Tensor, "height width"]]:
    angle = torch.tensor([degrees])
    # Whatever is to stand where nothing is becomes 0 first, because that is what comes in from outside.
    colour = torch.tensor(MEAN_COLOUR).view(3, 1, 1)
    pixels = (rotate((image - colour)[None].float(), angle)[0] + colour).round_().clamp_(0, 255).to(torch.uint8)
    layers: Float[Tensor, "2 height width"] = torch.stack([labels.float() - unknown, torch.ones(labels.shape)])
    layers = rotate(layers[None], angle, mode="nearest")[0]
    turned, valid = (layers[0] + unknown).to(labels.dtype), layers[1] > 0.5
    if _find_objects(labels, unknown).any() and not _find_objects(turned, unknown).any():
        return image, labels, torch.ones_like(valid)
    return pixels, turned, valid


def _blur(image: UInt8[Tensor, "3 height width"]) -> UInt8[Tensor, "3 height width"]:
    kernel = torch.tensor([BLUR])
    return filter2d_separable(image[None].float(), kernel, kernel, "replicate")[0].round_().to(torch.uint8)


def _pad(whole: AugmentedImage, size: int, unknown: int) -> AugmentedImage:
    """Put an image smaller than the crop into the middle of what can be cropped, as PFENet does."""
    rows, columns = whole.labels.shape
    missing = (max(0, size - rows), max(0, size - columns))
    if missing == (0, 0):
        return whole
    top, left = missing[0] // 2, missing[1] // 2
    around = (left, missing[1] - left, top, missing[0] - top)
    colour = torch.tensor(MEAN_COLOUR, dtype=torch.uint8).view(3, 1, 1)
    valid = functional.pad(whole.valid, around, value=False)
    inside = (slice(top, top + rows), slice(left, left + columns))
    pixels = colour.repeat(1, *valid.shape)
    pixels[:, *inside] = whole.pixels
    return AugmentedImage(pixels, functional.pad(whole.labels, around, value=unknown), valid)


def _crop(whole: AugmentedImage, places: list[float], augmentation: Augmentation, unknown: int) -> AugmentedImage:
    objects = _find_objects(whole.labels, unknown)
    row, column = _choose_corner(objects, places, augmentation)
    window = (slice(row, row + augmentation.size), slice(column, column + augmentation.size))
    return AugmentedImage(
        whole.pixels[:, *window].contiguous(), whole.labels[window].contiguous(), whole.valid[window].contiguous()
    )


def _choose_corner(
    objects: Bool[Tensor, "height width"], places: list[float], augmentation: Augmentation
) -> tuple[int, int]:
    """Take the first crop that keeps enough of the object, or the best one; or go where the object is."""
    size = augmentation.size
    free = (objects.shape[0] - size + 1, objects.shape[1] - size + 1)
    total = int(objects.sum())
    best, most = (0, 0), -1
    for down, across in zip(places[::2], places[1::2], strict=True):
        corner = (int(down * free[0]), int(across * free[1]))
        kept = int(objects[corner[0] : corner[0] + size, corner[1] : corner[1] + size].sum())
        if kept > most:
            best, most = corner, kept
        if kept >= augmentation.keep_share * total or free == (1, 1):
            break
    if most == 0 < total:
        row, column = objects.nonzero()[int(places[0] * total)].tolist()
        best = (min(max(row - size // 2, 0), free[0] - 1), min(max(column - size // 2, 0), free[1] - 1))
    return best


def _find_objects(labels: Integer[Tensor, "height width"], unknown: int) -> Bool[Tensor, "height width"]:
    return (labels != 0) & (labels != unknown)
