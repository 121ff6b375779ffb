"""Points as kernels read them that evaluate costs as they go: made once a solve, read at every pass.

With few coordinates costs are sums over them. With more they are products of matrices, for which a GPU has units of its
own that take numbers of 11 bits: each coordinate is two of those, its nearest float16 and what that leaves. Three of
their four products are taken, the fourth being 2⁻²² of the first, and all are summed in float32. TF32 has as many bits
and half the rate.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Float16, Int8
from torch import Tensor

from partialot.kernels.primitives import Cloud

NARROW = 8
"""Up to so many coordinates, sums over them are taken for themselves."""

WHOLE, CHUNK = 128, 64
"""Up to the former coordinates are multiplied at a time, filled up to a power of 2 with zeros; of more, the latter."""

TOP = 14
"""Numbers of float16 are scaled to just below 2^14: then those down to 2⁻¹⁵ of the largest have all their bits."""

_EXACTLY = "donot_use_mm_for_euclid_dist"


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

    @property
    def swapped(self) -> "Points":
        """The same with rows for columns."""
        return replace(self, x=self.y, y=self.x, alone_x=self.alone_y, alone_y=self.alone_x)

    def costs(self, rows: slice) -> Float[Tensor, "batch rows m"]:
        """Write the costs of some rows out, in float64."""
        x, y = (_whole(points, narrow=self.narrow) for points in (self.x, self.y))
        x = x[:, rows]
        product = -torch.cdist(x, y, compute_mode=_EXACTLY).square() if self.distances else x @ y.mT
        product = self.factor[:, None, None] * product
        return self.alone_x[:, rows].unsqueeze(-1) + self.alone_y.unsqueeze(-2) - product


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

    @property
    def transposed(self) -> "CloudEntries":
        """The transposed kernels."""
        return self._replace(points=self.points.swapped, rows=self.columns, columns=self.rows)

    @property
    def squared(self) -> "CloudEntries":
        """The squares of all entries."""
        return self._replace(unit=2 * self.unit, rows=2 * self.rows, columns=2 * self.columns)


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
        points, unit = (x.mT.contiguous(), alone.new_ones(len(x))) if narrow else _padded_halves(x)
        return cls(points.expand(count, -1, -1), unit, alone.expand(count, -1).contiguous())


def _padded_halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """Give (batch, n, 2 k) of float16 and their unit (batch,), k being what is multiplied at a time or a multiple."""
    d = x.shape[-1]
    width = max(16, 1 << (d - 1).bit_length()) if d <= WHOLE else -(-d // CHUNK) * CHUNK
    found, unit = halves(torch.nn.functional.pad(x, (0, width - d)), (-2, -1))
    return found, unit.reshape(len(x))


def halves(x: Float[Tensor, "batch n k"], alike: tuple[int, ...]) -> tuple[Float16[Tensor, "batch n both"], Tensor]:
    """Give numbers as two of float16, side by side, and what one unit of them is, float64.

    Args:
        x: The numbers, float32.
        alike: Dimensions over which the unit is the same.
    """
    most = x.abs().amax(alike, keepdim=True) if x.numel() else x.sum(alike, keepdim=True)
    exponent = torch.frexp(most)[1].clamp(min=-100) - TOP
    scaled = torch.ldexp(x, -exponent)
    found = x.new_empty((*x.shape[:-1], 2, x.shape[-1]), dtype=torch.float16)
    found[..., 0, :] = scaled
    found[..., 1, :] = scaled - found[..., 0, :]
    return found.flatten(-2), torch.ldexp(torch.ones_like(most, dtype=torch.float64), exponent)


def _whole(points: Tensor, *, narrow: bool) -> Float[Tensor, "batch n d"]:
    """Put coordinates together again, in float64 and in units of their own."""
    if narrow:
        return points.mT.double()
    near, rest = points.double().chunk(2, -1)
    return near + rest
