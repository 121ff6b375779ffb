"""From pictures as they are stored to pictures as networks expect them."""

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

CHANNEL_MEAN = (0.485, 0.456, 0.406)
CHANNEL_STD = (0.229, 0.224, 0.225)
"""Statistics of ImageNet's RGB channels, which pretrained backbones expect to be taken out."""

MEAN_COLOUR = tuple(round(255 * mean) for mean in CHANNEL_MEAN)
"""The mean as an 8-bit colour: what padding is painted with."""


def normalise_images(images: UInt8[Tensor, "*batch 3 height width"]) -> Float[Tensor, "*batch 3 height width"]:
    """Turn 8-bit RGB into what backbones expect: zero mean and unit deviation over ImageNet, channel by channel."""
    mean = torch.tensor(CHANNEL_MEAN, device=images.device).view(3, 1, 1)
    std = torch.tensor(CHANNEL_STD, device=images.device).view(3, 1, 1)
    return (images.float() / 255.0 - mean) / std


def normalise_padded(
    images: UInt8[Tensor, "*batch 3 height width"], valid: Bool[Tensor, "*batch height width"]
) -> Float[Tensor, "*batch 3 height width"]:
    """Normalise images with padding, which becomes exactly 0: no colour of 8 bits is the mean itself."""
    return normalise_images(images) * valid.unsqueeze(-3)
