"""Positional encoding: where a node lies, added to what it looks like."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

PositionName = Literal["mlp", "sine", "none"]

_HIDDEN = (32, 64, 128)
_SMALL = 1e-2


def _centres(height: int, width: int, like: Tensor) -> Float[Tensor, "h w 2"]:
    """Give the centre of each node as (x, y), with the grid's outer edges at -1 and 1."""
    rows = (2 * torch.arange(height, device=like.device, dtype=like.dtype) + 1) / height - 1
    columns = (2 * torch.arange(width, device=like.device, dtype=like.dtype) + 1) / width - 1
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y], dim=-1)


class MLPPosition(nn.Module):
    """Learned encoding `f = f_a + P_enc(p)` (paper, eq. 5), a small network of the node's centre; for any grid.

    The last layer starts small, so an untrained encoding leaves the features nearly as they are.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 2
        for outputs in _HIDDEN:
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
            inputs = outputs
        last = nn.Linear(inputs, channels)
        nn.init.normal_(last.weight, std=_SMALL)
        nn.init.zeros_(last.bias)
        self.encode = nn.Sequential(*layers, last)

    def forward(self, features: Float[Tensor, "*batch channels h w"]) -> Float[Tensor, "*batch channels h w"]:
        """Add the encoding to each node."""
        encoding = self.encode(_centres(features.shape[-2], features.shape[-1], features))
        return features + encoding.movedim(-1, 0)


class SinePosition(nn.Module):
    """Fixed sinusoids of row and column (Vaswani et al. 2017, in two dimensions), times one learned gain.

    Args:
        channels: A multiple of 4: sine and cosine of row and column.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.frequencies: Tensor
        self.register_buffer("frequencies", math.pi * 2 ** torch.linspace(0, 6, channels // 4), persistent=False)
        self.gain = nn.Parameter(torch.tensor(_SMALL))

    def forward(self, features: Float[Tensor, "*batch channels h w"]) -> Float[Tensor, "*batch channels h w"]:
        """Add the encoding to each node."""
        angles = _centres(features.shape[-2], features.shape[-1], features)[..., None] * self.frequencies
        waves = torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)
        return features + self.gain * waves.movedim(-1, 0)


def build_position(name: PositionName, channels: int) -> nn.Module:
    """Make the encoding of that name; `none` adds nothing."""
    if name == "none":
        return nn.Identity()
    return MLPPosition(channels) if name == "mlp" else SinePosition(channels)
