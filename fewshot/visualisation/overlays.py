"""What is known about the pixels of an image, drawn over it."""

import torch
from jaxtyping import Bool, Float, UInt8
from matplotlib import colormaps
from torch import Tensor

from fewshot.data.transforms import CHANNEL_MEAN, CHANNEL_STD
from fewshot.episode import IGNORED

MAP_COLOURS = "inferno"
"""Colour map of maps and flows: rises in lightness from end to end, so that it is read the same in grey."""

_LUMINANCE = (0.299, 0.587, 0.114)
_TINTS = {1: (230, 60, 40), IGNORED: (255, 255, 255)}


def restore_colours(image: Float[Tensor, "3 height width"]) -> UInt8[Tensor, "height width 3"]:
    """Undo the normalisation that the backbone expects."""
    mean, std = torch.tensor(CHANNEL_MEAN).view(3, 1, 1), torch.tensor(CHANNEL_STD).view(3, 1, 1)
    colours = (image.detach().cpu().float() * std + mean) * 255
    return colours.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)


def overlay_mask(
    image: UInt8[Tensor, "height width 3"],
    mask: UInt8[Tensor, "height width"] | Bool[Tensor, "height width"],
    *,
    opacity: float = 0.5,
) -> UInt8[Tensor, "height width 3"]:
    """Tint the object (label 1 or True) of an image, whiten what is unknown (255), and turn the rest grey.

    Without the grey a red object of the image would pass for a tinted one.

    Args:
        image: RGB.
        mask: What to tint.
        opacity: Of the tint; at 1 it hides what is under it.
    """
    labels, tinted = mask.to(torch.uint8).unsqueeze(-1), _to_grey(image)
    for value, colour in _TINTS.items():
        tinted = torch.where(labels == value, _blend(image.float(), torch.tensor(colour), opacity), tinted)
    return tinted.round().to(torch.uint8)


def overlay_map(
    image: UInt8[Tensor, "height width 3"],
    values: Float[Tensor, "height width"],
    *,
    top: float = 1.0,
    opacity: float = 0.8,
) -> UInt8[Tensor, "height width 3"]:
    """Lay a map over the grey image, in the colours of `MAP_COLOURS`; where it is low the image shows through.

    Args:
        image: RGB.
        values: The map at the size of the image, at least 0.
        top: The value that has the last colour; higher ones have it too.
        opacity: Of the highest values; the lowest have half of it.
    """
    height = (values / top).clamp(0, 1)
    colours = torch.from_numpy(colormaps[MAP_COLOURS](height.numpy())[..., :3]).float()
    return _blend(_to_grey(image), 255 * colours, opacity * (0.5 + 0.5 * height.unsqueeze(-1))).round().to(torch.uint8)


def _to_grey(image: Tensor) -> Tensor:
    return (image.float() @ torch.tensor(_LUMINANCE)).unsqueeze(-1).expand(image.shape)


def _blend(below: Tensor, above: Tensor, opacity: float | Tensor) -> Tensor:
    return (1 - opacity) * below + opacity * above
