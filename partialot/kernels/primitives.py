"""What the passes over a Gibbs kernel take and give.

A Gibbs kernel is the matrix exp(rows_i + columns_j − unit · (cost_ij − shift)) of a batch of problems: potentials in
natural logarithms and float64, costs in the type and unit they came in. It may also be *stored*: written out at some
potentials, it then serves all nearby ones by scaling rows and columns.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int8
from torch import Tensor


class Source(IntEnum):
    """Where a pass takes the entries of a problem from."""

    NOTHING = 0
    """The problem is left alone."""
    COST = 1
    """One exponential for each entry; safe at any potentials."""
    STORED = 2
    """The stored kernel, rows and columns being potentials less those it was written at: no exponential."""
    STORING = 3
    """As from the cost, and the entries are kept over what was stored."""


@dataclass(frozen=True, eq=False)
class Prices:
    """Costs with their unit.

    Attributes:
        cost: Any sign, `inf` = forbidden. The batch dimension may be a stretched 1.
        unit: Exponents per unit of cost, 1 over the regularisation.
        shift: Taken off each cost first.
    """

    cost: Float[Tensor, "batch n m"]
    unit: Float[Tensor, " batch"]
    shift: Float[Tensor, " batch"]

    def select(self, chosen: Bool[Tensor, " batch"]) -> "Prices":
        """Keep some problems of the batch."""
        return Prices(self.cost[chosen], self.unit[chosen], self.shift[chosen])


@dataclass(frozen=True, eq=False)
class Entries:
    """Where the entries of a batch of Gibbs kernels come from.

    Attributes:
        prices: The costs.
        stored: The stored kernels, overwritten by `write_out` and by passes that store; None where no problem has one.
        source: One `Source` for each problem.
        rows: Potentials of the rows, or their distance from those of the stored kernel.
        columns: Likewise; may be -inf.
    """

    prices: Prices
    stored: Float[Tensor, "batch n m"] | None
    source: Int8[Tensor, " batch"]
    rows: Float[Tensor, "batch n"]
    columns: Float[Tensor, "batch m"]


@dataclass(frozen=True, eq=False)
class Cloud:
    """Costs between the points of two clouds, |x_i − y_j|² or constant − ⟨x_i, y_j⟩, written out nowhere.

    Attributes:
        x: Points of the rows. Batch dimensions broadcast; kernels take one, which may be a stretched 1.
        y: Points of the columns. Products have the more digits the nearer both are to 0: squared distances keep most
            between clouds that were centred.
        squared: Whether costs are squared distances.
        constant: What products are taken off; 0 beside squared distances.
    """

    x: Float[Tensor, "*#batch n d"]
    y: Float[Tensor, "*#batch m d"]
    squared: bool
    constant: float

    def flat(self, batch: torch.Size) -> "Cloud":
        """Flatten the batch, whose shape this is; points that all of it shares are stretched."""
        x, y = (flat(side, batch) for side in (self.x, self.y))
        return replace(self, x=x, y=y)


def flat(side: Float[Tensor, "*#batch n d"], batch: torch.Size) -> Float[Tensor, "flat n d"]:
    """Flatten the batch, whose shape this is; what all of it shares is stretched."""
    if side.shape[:-2].numel() == 1:
        return side.reshape(1, *side.shape[-2:]).expand(batch.numel(), -1, -1)
    return side.expand(*batch, -1, -1).reshape(batch.numel(), *side.shape[-2:])


class RowUpdate(NamedTuple):
    """How rows are updated between the sums over rows and those over columns.

    Attributes:
        edge: (batch, n), logarithm of what each row's border adds to its sum; -inf for nothing.
        log_weight: (batch, n), logarithm of each row's weight in the sums over columns; -inf for none.
        relaxation: (batch,), the part ω of the way to the row's exact update that is gone; 1 = all of it.
        ceiling: (batch, n), the row's potential rises no higher; None = no limit.
    """

    edge: Tensor
    log_weight: Tensor
    relaxation: Tensor
    ceiling: Tensor | None


class RowSums(NamedTuple):
    """What a pass over the rows finds.

    Attributes:
        log_total: (batch, n), logarithm of each row's sum and border; -inf where nothing is in it.
        fraction: (batch, n), the share of the sum without the border.
        moved: (batch, n), by how much the row's potential was updated.
        columns: (batch, m), Σ_i weight_i · entry_ij after the update, without the border.
    """

    log_total: Tensor
    fraction: Tensor
    moved: Tensor
    columns: Tensor


@dataclass(frozen=True, eq=False)
class Marginals:
    """The weights of a bordered problem, which no sweep changes; the border's are last.

    Attributes:
        a: Of the sources.
        log_a: Its logarithm, -inf for 0.
        b: Of the targets.
        log_b: Its logarithm, -inf for 0.
        priced: Whether mass has a price: the corner of the border is then allowed, and the mass is free.
    """

    a: Float[Tensor, "batch sources"]
    log_a: Float[Tensor, "batch sources"]
    b: Float[Tensor, "batch targets"]
    log_b: Float[Tensor, "batch targets"]
    priced: bool


class Iterate(NamedTuple):
    """Where sweeps stand.

    Attributes:
        f: (batch, sources), potentials, the border's last.
        g: (batch, targets), likewise.
        mass: (batch,), what the real block has to carry; where mass has a price, what it carries.
        corner: (batch,), what the pair of the two dummies carries, 0 where it is forbidden.
        column_error: (batch,), violation of the columns over the mass.
        edge_share: (batch,), what of the columns comes from the dummy source.
    """

    f: Tensor
    g: Tensor
    mass: Tensor
    corner: Tensor
    column_error: Tensor
    edge_share: Tensor


class Measured(NamedTuple):
    """How good an iterate is.

    Attributes:
        edge: (batch,), logarithm of the dummy source's sum over its weight.
        error: (batch,), constraint violation over the mass.
        moved: (batch,), the mass that moves from real sources.
    """

    edge: Tensor
    error: Tensor
    moved: Tensor
