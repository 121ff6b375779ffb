"""Classifiers of nodes for the supervised stage, thrown away when the backbone has learnt."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

HeadName = Literal["ppm", "linear"]

_BINS = (1, 2, 3, 6)
_DROPOUT = 0.1


class PyramidHead(nn.Module):
    """The pyramid pooling of PSPNet: each node sees averages over the whole image, its half, third and sixth.

    Args:
        channels: Of the features, a multiple of 4.
        classes: How many there are, background included.

    References:
        Zhao et al. (2017), Pyramid Scene Parsing Network, section 3.2.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        width = channels // len(_BINS)
        self.reductions = nn.ModuleList(_convolve(channels, width, 1) for _ in _BINS)
        self.merge = _convolve(channels + width * len(_BINS), width, 3)
        self.dropout = nn.Dropout2d(_DROPOUT)
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, features: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch classes h w"]:
        """Give the logits of every node."""
        grid = (features.shape[-2], features.shape[-1])
        pooled = [
            functional.interpolate(
                reduce(functional.adaptive_avg_pool2d(features, bins)), grid, mode="bilinear", align_corners=True
            )
            for bins, reduce in zip(_BINS, self.reductions, strict=True)
        ]
        return self.classify(self.dropout(self.merge(torch.cat([features, *pooled], dim=1))))


def build_head(name: HeadName, channels: int, classes: int) -> nn.Module:
    """Make a head that turns features `(batch, channels, h, w)` into logits `(batch, classes, h, w)`.

    Args:
        name: `ppm` (PSPNet's pyramid pooling) or `linear` (each node for itself).
        channels: Of the features.
        classes: How many there are, background included.
    """
    return PyramidHead(channels, classes) if name == "ppm" else nn.Conv2d(channels, classes, 1)


def _convolve(inputs: int, outputs: int, size: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())
