"""Points as kernels read them that evaluate costs as they go: made once a solve, read at every pass.

With few coordinates costs are sums over them. With more they are products of matrices, for which a GPU has units of its
own that take numbers of 11 bits: each coordinate is two of those, its nearest float16 and what that leaves. Three of
their four products are taken, the fourth being 2⁻²² of the first, and all are summed in float32. TF32 has as many bits
and half the rate.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int8
from torch import Tensor

from partialot.kernels.primitives import Cloud

NARROW = 8
"""Up to so many coordinates, sums over them are taken for themselves."""

WHOLE, CHUNK = 128, 64
"""Up to the former coordinates are multiplied at a time, filled up to a power of 2 with zeros; of more, the latter."""

_TOP = 14
"""Numbers of float16 are scaled to just below 2^14: then those down to 2⁻¹⁵ of the largest have all their bits."""


@dataclass(frozen=True, eq=False)
class Points:
    """Two clouds and what their costs are: cost_ij = alone_x_i + alone_y_j − factor · product_ij.

    Products are ⟨x_i, y_j⟩ over what the points were scaled by, or, between squared distances in few coordinates, these
    themselves, less than 0.

    Attributes:
        x: (batch, d, n) float32, or (batch, n, 2 k) float16: nearest numbers, then the rest; the batch may be
            stretched.
        y: Likewise.
        alone_x: (batch, n), what the row alone adds to its costs, float64.
        alone_y: (batch, m), likewise.
        factor: (batch,), 1 or 2 over the scales of the points, float64.
        distances: Whether what is multiplied are squared distances.
        narrow: Whether the points have coordinates of float32.
    """

    x: Tensor
    y: Tensor
    alone_x: Float[Tensor, "batch n"]
    alone_y: Float[Tensor, "batch m"]
    factor: Float[Tensor, " batch"]
    distances: bool
    narrow: bool

    @classmethod
    def of(cls, cloud: Cloud) -> "Points":
        """Prepare two clouds."""
        narrow = cloud.x.shape[-1] <= NARROW
        distances = cloud.squared and narrow
        x, y = _Side.of(cloud.x, cloud, narrow=narrow), _Side.of(cloud.y, cloud, narrow=narrow)
        factor = (2.0 if cloud.squared and not narrow else 1.0) * x.unit * y.unit
        return cls(x.points, y.points, x.alone, y.alone, factor.expand(len(cloud.x)).contiguous(), distances, narrow)


class CloudEntries(NamedTuple):
    """As `Entries`, from costs that are written out nowhere.

    Attributes:
        points: The clouds.
        unit: (batch,), exponents per unit of cost.
        shift: (batch,), taken off each cost first.
        source: (batch,), `Source.COST` or `Source.NOTHING`.
        rows: (batch, n), potentials.
        columns: (batch, m), likewise; may be -inf.
    """

    points: Points
    unit: Float[Tensor, " batch"]
    shift: Float[Tensor, " batch"]
    source: Int8[Tensor, " batch"]
    rows: Float[Tensor, "batch n"]
    columns: Float[Tensor, "batch m"]


@dataclass(frozen=True, eq=False)
class CloudKernels:
    """As `Kernels`, from costs that are written out nowhere.

    Attributes:
        points: See `CloudEntries`.
        unit: Likewise.
        shift: Likewise.
        source: Likewise.
    """

    points: Points
    unit: Float[Tensor, " batch"]
    shift: Float[Tensor, " batch"]
    source: Int8[Tensor, " batch"]

    def at(
        self, f: Float[Tensor, "batch n"], g: Float[Tensor, "batch m"], log_b: Float[Tensor, "batch m"]
    ) -> CloudEntries:
        """Give the entries at some potentials; those of columns without weight are 0."""
        return CloudEntries(self.points, self.unit, self.shift, self.source, f, g + log_b)


class _Side(NamedTuple):
    """One of the clouds: its points, what one unit of them is, and what they add to costs alone."""

    points: Tensor
    unit: Tensor
    alone: Tensor

    @classmethod
    def of(cls, x: Tensor, cloud: Cloud, *, narrow: bool) -> "_Side":
        """Prepare the points once where a batch shares them."""
        count, shared = len(x), len(x) > 1 and x.stride(0) == 0
        x = (x[:1] if shared else x).float()
        alone = torch.full(x.shape[:2], cloud.constant / 2, dtype=torch.float64, device=x.device)
        if cloud.squared and not narrow:
            alone = x.double().square().sum(-1)
        points, unit = (x.mT.contiguous(), alone.new_ones(len(x))) if narrow else _halves(x)
        return cls(points.expand(count, -1, -1), unit, alone.expand(count, -1).contiguous())


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """Give (batch, n, 2 k) of float16 and their unit (batch,), k being what is multiplied at a time or a multiple."""
    batch, n, d = x.shape
    _, exponent = torch.frexp(x.abs().amax((-2, -1)) if x.numel() else x.new_zeros(batch))
    exponent = exponent.clamp(min=-100) - _TOP
    width = max(16, 1 << (d - 1).bit_length()) if d <= WHOLE else -(-d // CHUNK) * CHUNK
    halves = x.new_zeros((batch, n, 2, width), dtype=torch.float16)
    scaled = torch.ldexp(x, -exponent[:, None, None])
    halves[..., 0, :d] = scaled
    halves[..., 1, :d] = scaled - halves[..., 0, :d]
    return halves.flatten(-2), torch.ldexp(x.new_ones(batch, dtype=torch.float64), exponent)
