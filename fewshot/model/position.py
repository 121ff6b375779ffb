"""Positional encoding: where a node lies in its image, added to what it looks like."""

import math
from abc import ABC, abstractmethod
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

PositionName = Literal["mlp", "table", "sine", "none"]

TABLE_SIDE = 60
"""Rows and columns that a `table` is defined on: the nodes of 473 x 473 pixels at stride 8."""

_HIDDEN = (32, 64, 128)
_SMALL = 1e-2


def locate_nodes(valid: Bool[Tensor, "*batch h w"], dtype: torch.dtype) -> Float[Tensor, "*batch h w 2"]:
    """Give the centre of each node as (x, y), with the outer edges of the image's valid nodes at -1 and 1.

    Padding moves nothing: a node lies where it lies in the image, and padded nodes lie outside [-1, 1].
    """
    y, x = (_locate_along(valid.any(axis), dtype) for axis in (-1, -2))
    shape = valid.shape
    return torch.stack([x.unsqueeze(-2).expand(shape), y.unsqueeze(-1).expand(shape)], dim=-1)


def _locate_along(used: Bool[Tensor, "*batch n"], dtype: torch.dtype) -> Float[Tensor, "*batch n"]:
    count = used.shape[-1]
    first = used.byte().argmax(-1, keepdim=True)
    last = count - 1 - used.flip(-1).byte().argmax(-1, keepdim=True)
    places = torch.arange(count, device=used.device)
    return (2 * (places - first) + 1).to(dtype) / (last - first + 1) - 1


class Position(nn.Module, ABC):
    """Learned or fixed encoding of a node's place, `f = f_a + P_enc(p)` (paper, eq. 5); one for every image."""

    @abstractmethod
    def describe(self, centres: Float[Tensor, "*nodes 2"]) -> Float[Tensor, "*nodes channels"]:
        """Encode places in [-1, 1]; see `locate_nodes`."""

    def forward(
        self, features: Float[Tensor, "*batch channels h w"], valid: Bool[Tensor, "*batch h w"]
    ) -> Float[Tensor, "*batch channels h w"]:
        """Add the encoding to each node; `valid` tells the image from its padding."""
        # Half precision cannot tell neighbouring nodes of a large grid apart.
        precise = torch.promote_types(features.dtype, torch.float32)
        return features + self.describe(locate_nodes(valid, precise)).movedim(-1, -3)


class MLPPosition(Position):
    """A small network of the node's centre; for any grid.

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

    def describe(self, centres: Float[Tensor, "*nodes 2"]) -> Float[Tensor, "*nodes channels"]:
        """Run the network."""
        return self.encode(centres)


class TablePosition(Position):
    """A learned vector for each of 60 columns, followed by one for each of 60 rows (DETR's kind).

    Images of other grids read the table between its entries, linearly along each axis: bilinear resizing of the whole.

    Args:
        channels: An even number: half for the columns, half for the rows.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.columns, self.rows = (nn.Parameter(torch.empty(TABLE_SIDE, channels // 2)) for _ in range(2))
        for table in (self.columns, self.rows):
            nn.init.normal_(table, std=_SMALL)

    def describe(self, centres: Float[Tensor, "*nodes 2"]) -> Float[Tensor, "*nodes channels"]:
        """Look up both coordinates."""
        return torch.cat([_look_up(self.columns, centres[..., 0]), _look_up(self.rows, centres[..., 1])], dim=-1)


def _look_up(table: Float[Tensor, "side half"], centres: Float[Tensor, "*nodes"]) -> Float[Tensor, "*nodes half"]:
    """Read the table at places in [-1, 1], which are its outer edges; beyond the outer centres it is constant."""
    last = len(table) - 1
    places = ((centres + 1) * len(table) / 2 - 0.5).clamp(0, last)
    below = places.floor().clamp(max=last - 1).long()
    share = (places - below).unsqueeze(-1)
    return torch.lerp(table[below].to(share.dtype), table[below + 1].to(share.dtype), share)


class SinePosition(Position):
    """Fixed sinusoids of row and column (Vaswani et al. 2017, in two dimensions), times one learned gain.

    Args:
        channels: A multiple of 4: sine and cosine of row and column.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.frequencies: Tensor
        self.register_buffer("frequencies", math.pi * 2 ** torch.linspace(0, 6, channels // 4), persistent=False)
        self.gain = nn.Parameter(torch.tensor(_SMALL))

    def describe(self, centres: Float[Tensor, "*nodes 2"]) -> Float[Tensor, "*nodes channels"]:
        """Evaluate the waves."""
        angles = centres[..., None] * self.frequencies
        return self.gain * torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)


class NoPosition(Position):
    """No encoding: flow and transport do not know where a node lies."""

    def describe(self, centres: Float[Tensor, "*nodes 2"]) -> Float[Tensor, "*nodes 1"]:
        """Add zero to every channel."""
        return torch.zeros_like(centres[..., :1])


def build_position(name: PositionName, channels: int) -> Position:
    """Make the encoding of that name; `none` adds nothing."""
    if name == "none":
        return NoPosition()
    return {"mlp": MLPPosition, "table": TablePosition, "sine": SinePosition}[name](channels)
