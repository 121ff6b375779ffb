"""From pictures as they are stored to pictures as networks expect them."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

CHANNEL_MEAN = (0.485, 0.456, 0.406)
CHANNEL_STD = (0.229, 0.224, 0.225)
"""Statistics of ImageNet's RGB channels, which pretrained backbones expect to be taken out."""


def normalise_images(images: UInt8[Tensor, "*batch 3 height width"]) -> Float[Tensor, "*batch 3 height width"]:
    """Turn 8-bit RGB into what backbones expect: zero mean and unit deviation over ImageNet, channel by channel."""
    mean = torch.tensor(CHANNEL_MEAN, device=images.device).view(3, 1, 1)
    std = torch.tensor(CHANNEL_STD, device=images.device).view(3, 1, 1)
    return (images.float() / 255.0 - mean) / std
