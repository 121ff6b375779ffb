"""Training images as training sees them: scaled, turned, blurred, mirrored and cropped at random."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Integer, UInt8
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
        keep_share: How much of the object's pixels a crop must keep, between 0 and 1: the crop is drawn among those
            that do. Where none can, it must keep this share of what the best one does. (PFENet draws among all, up to
            31 times, until one does, and takes the last.)
    """

    size: int = 473
    scale: tuple[float, float] = (0.9, 1.1)
    fit: bool = False
    rotation: float = 10.0
    rotation_probability: float = 0.5
    blur_probability: float = 0.5
    flip_probability: float = 0.5
    keep_share: float = 0.85

    def __post_init__(self) -> None:
        """Refuse sizes, factors and shares that mean nothing."""
        if self.size < 1:
            raise ValueError(
                f"`size` must be at least 1. Found `size = {self.size}`. PFENet takes {Augmentation.size}."
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
    """A training image on its way to the network, at the end of it a square crop.

    Attributes:
        pixels: RGB; padding has the mean colour.
        labels: As they came; unknown on padding.
        valid: True on the image, False on padding: beside the image, and where turning has left its place empty.
    """

    pixels: UInt8[Tensor, "3 height width"]
    labels: Integer[Tensor, "height width"]
    valid: Bool[Tensor, "height width"]


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
    afterwards: one that turning would put wholly out of sight is not turned, and crops that miss it are not drawn.

    Args:
        image: RGB, any size.
        labels: 0 is background, `unknown` unknown, everything else the object (or objects, of several classes).
        augmentation: What is drawn.
        generator: Where randomness comes from; no other generator is touched. Equally many numbers are taken whatever
            is switched off.
        unknown: Label of unknown pixels, and of padding.
    """
    scale, turned, angle, blurred, flipped, place = torch.rand(6, generator=generator, dtype=torch.float64).tolist()
    picture = _rescale(image, labels, scale, augmentation, unknown)
    if turned < augmentation.rotation_probability and augmentation.rotation > 0:
        picture = _turn(picture, augmentation.rotation * (2 * angle - 1), unknown)
    if blurred < augmentation.blur_probability:
        picture = replace(picture, pixels=_blur(picture.pixels))
    if flipped < augmentation.flip_probability:
        picture = AugmentedImage(picture.pixels.flip(-1), picture.labels.flip(-1), picture.valid.flip(-1))
    return _crop(_pad(picture, augmentation.size, unknown), place, augmentation, unknown)


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
) -> AugmentedImage:
    smallest, largest = augmentation.scale
    factor = smallest + draw * (largest - smallest)
    if augmentation.fit:
        factor *= augmentation.size / max(labels.shape)
    size = (max(1, round(labels.shape[0] * factor)), max(1, round(labels.shape[1] * factor)))
    resized = resize_labels(labels, size, unknown=unknown)
    return AugmentedImage(resize_pixels(image, size), resized, torch.ones(size, dtype=torch.bool))


def _turn(picture: AugmentedImage, degrees: float, unknown: int) -> AugmentedImage:
    angle = torch.tensor([degrees])
    # Whatever is to stand where nothing is becomes 0 first, because that is what comes in from outside.
    colour = torch.tensor(MEAN_COLOUR).view(3, 1, 1)
    pixels = rotate((picture.pixels - colour)[None].float(), angle)[0] + colour
    layers = torch.stack([picture.labels.float() - unknown, picture.valid.float()])
    layers = rotate(layers[None], angle, mode="nearest")[0]
    labels = (layers[0] + unknown).to(picture.labels.dtype)
    if _find_objects(picture.labels, unknown).any() and not _find_objects(labels, unknown).any():
        return picture
    return AugmentedImage(pixels.round_().clamp_(0, 255).to(torch.uint8), labels, layers[1] > 0.5)


def _blur(image: UInt8[Tensor, "3 height width"]) -> UInt8[Tensor, "3 height width"]:
    kernel = torch.tensor([BLUR])
    return filter2d_separable(image[None].float(), kernel, kernel, "replicate")[0].round_().to(torch.uint8)


def _pad(picture: AugmentedImage, size: int, unknown: int) -> AugmentedImage:
    """Put an image smaller than the crop into the middle of what can be cropped, as PFENet does."""
    rows, columns = picture.labels.shape
    missing = (max(0, size - rows), max(0, size - columns))
    if missing == (0, 0):
        return picture
    top, left = missing[0] // 2, missing[1] // 2
    around = (left, missing[1] - left, top, missing[0] - top)
    colour = torch.tensor(MEAN_COLOUR, dtype=torch.uint8).view(3, 1, 1)
    valid = functional.pad(picture.valid, around, value=False)
    inside = (slice(top, top + rows), slice(left, left + columns))
    pixels = colour.repeat(1, *valid.shape)
    pixels[:, *inside] = picture.pixels
    return AugmentedImage(pixels, functional.pad(picture.labels, around, value=unknown), valid)


def _crop(picture: AugmentedImage, place: float, augmentation: Augmentation, unknown: int) -> AugmentedImage:
    objects = _find_objects(picture.labels, unknown)
    row, column = _choose_corner(objects, place, augmentation)
    window = (slice(row, row + augmentation.size), slice(column, column + augmentation.size))
    return AugmentedImage(
        picture.pixels[:, *window].contiguous(), picture.labels[window].contiguous(), picture.valid[window].contiguous()
    )


def _choose_corner(objects: Bool[Tensor, "height width"], place: float, augmentation: Augmentation) -> tuple[int, int]:
    """Choose among the crops that keep enough of the object, each alike, by a draw between 0 and 1."""
    size = augmentation.size
    area = functional.pad(objects.cumsum(0, dtype=torch.int32).cumsum(1, dtype=torch.int32), (1, 0, 1, 0))
    kept = area[size:, size:] - area[:-size, size:] - area[size:, :-size] + area[:-size, :-size]
    total, best = int(area[-1, -1]), int(kept.max())
    enough = augmentation.keep_share * (total if best >= augmentation.keep_share * total else best)
    corners = (kept >= max(enough, min(best, 1))).nonzero()
    row, column = corners[int(place * len(corners))].tolist()
    return row, column


def _find_objects(labels: Integer[Tensor, "height width"], unknown: int) -> Bool[Tensor, "height width"]:
    return (labels != 0) & (labels != unknown)
