"""Blocks of Gibbs kernels as products: of a matrix, one factor for each row, one for each column.

Exponents are formed in units of the cost: unit · ((rows_i / unit + shift) + (columns_j / unit) − cost_ij). Each
potential is two numbers of the working type, the first on a grid on which sums of two are exact, so that the difference
to a like cost is exact too, however large both are: errors of marginals do not grow with the cost over `reg`. The
second numbers, minute, never meet the matrix: they go into the factors. Powers are of 2, which PyTorch takes three
times faster on a CPU than those of e, and twenty times where they are too small to be normal.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from partialot.kernels.blocks import WHOLE, Block, may_ask, room_for, whole
from partialot.kernels.primitives import Entries

_FINE = 8.0
"""Widest grid, in units of the regularisation, whose rests may be factors: no larger ones leave the type's range."""


class Terms(NamedTuple):
    """Entries exp(anchor_i) · matrix_ij · factor_j of a block.

    Attributes:
        matrix: (problems, rows, m).
        anchor: (problems, rows), float64.
        factor: (problems, m), in the working type.
    """

    matrix: Tensor
    anchor: Tensor
    factor: Tensor

    def log_row_sums(self) -> Tensor:
        """Give the logarithms of the rows' sums, -inf of nothing."""
        return times_rows(self.factor, self.matrix).log_().add_(self.anchor)

    def column_sums(self, log_scale: Tensor) -> Tensor:
        """Give Σ_i exp(log_scale_i) · entry_ij."""
        return times_matrix((log_scale + self.anchor).exp_(), self.matrix).mul_(self.factor)


def times_rows(x: Tensor, matrix: Tensor) -> Tensor:
    """Give K x in float64, as a row vector times the transpose: times a column vector it is several times slower."""
    return torch.bmm(x.to(matrix.dtype).unsqueeze(-2), matrix.mT).squeeze(-2).double()


def times_matrix(x: Tensor, matrix: Tensor) -> Tensor:
    """Give Kᵀ x in float64."""
    return torch.bmm(x.to(matrix.dtype).unsqueeze(-2), matrix).squeeze(-2).double()


class StoredTerms:
    """Terms of stored kernels: nothing to compute but factors."""

    def __init__(self, entries: Entries) -> None:
        assert entries.stored is not None
        self._matrix, self._rows = entries.stored, entries.rows
        self._factor = entries.columns.exp().to(entries.stored.dtype)

    def of(self, block: Block) -> Terms:
        """Give the terms of a block."""
        return Terms(self._matrix[block.of_rows], self._rows[block.of_rows], self._factor[block.problems])


class CostTerms:
    """Terms evaluated from the costs, one block at a time: the next takes the memory of the last."""

    def __init__(self, entries: Entries) -> None:
        prices = entries.prices
        self._cost, self._unit, dtype = prices.cost, prices.unit.unsqueeze(-1), prices.cost.dtype
        sides = entries.rows / self._unit + prices.shift.unsqueeze(-1), entries.columns / self._unit
        sizes = [torch.where(x.isfinite(), x.abs(), 0.0) for x in sides]
        largest = torch.cat(sizes, dim=-1).amax(-1, keepdim=True).clamp(min=torch.finfo(dtype).tiny)
        # Twice as coarse as the largest needs: sums of two have one digit more.
        grid = torch.exp2(largest.log2().ceil() + 1) * torch.finfo(dtype).eps
        (self._rows, self._fine_rows), (self._columns, self._fine_columns) = (_split(x, grid, dtype) for x in sides)
        self._log2 = (self._unit / math.log(2)).to(dtype).unsqueeze(-1)
        self._factor = (self._fine_columns * self._unit).exp().to(dtype)
        self._is_fine = may_ask(prices.cost.device) and bool((grid * self._unit <= _FINE).all())
        self._room = room_for(prices.cost)

    def of(self, block: Block) -> Terms:
        """Give the terms of a block, good wherever its sums are in the range of the type."""
        anchor, factor = self._fine_rows[block.of_rows] * self._unit[block.problems], self._factor[block.problems]
        if not self._is_fine:
            return Terms(self._exp2(self._exponents(block)), torch.zeros_like(anchor), torch.ones_like(factor))
        return Terms(self._exp2(self._coarse(block).mul_(self._log2[block.problems])), anchor, factor)

    def stable(self, block: Block) -> Terms:
        """Give the terms of a block with the largest of each row divided out: good at any potentials."""
        exponents = self._exponents(block)
        some = exponents.shape[-1] > 0
        most = exponents.amax(-1) if some else exponents.new_full(exponents.shape[:-1], -torch.inf)
        most = torch.where(most.isfinite(), most, 0.0)
        powers = self._exp2(exponents.sub_(most.unsqueeze(-1)))
        return Terms(powers, most.double() * math.log(2), torch.ones_like(self._factor[block.problems]))

    def write(self, block: Block, store: Tensor) -> None:
        """Write the entries of a block over a matrix; 0 where they are too small to be normal numbers."""
        target = store[block.of_rows]
        if block.meant is None and not target.numel() % WHOLE:
            powers = self._exponents(block, target).exp2_()
        else:
            powers = self._exp2(self._exponents(block))
        # Processors are slow at such numbers, in every pass to come.
        torch.threshold_(powers, torch.finfo(powers.dtype).tiny, 0.0)
        if powers is not target:
            meant = block.meant
            target.copy_(powers if meant is None else torch.where(meant.unsqueeze(-1), powers, target))

    def _exp2(self, exponents: Tensor) -> Tensor:
        """Raise 2 to what lies at the start of the room, and to what follows it up to a whole number of vectors.

        The numbers beyond the last whole vector are rounded otherwise, and which those are would depend on the batch.
        """
        self._room[: whole(exponents.numel())].exp2_()
        return exponents

    def _coarse(self, block: Block, into: Tensor | None = None) -> Tensor:
        """Give what the costs lack to the potentials' sums on the grid, in units of the cost."""
        cost = self._cost[block.of_rows]
        if into is None:
            into = self._room[: cost.numel()].view(cost.shape)
        rows, columns = self._rows[block.of_rows].unsqueeze(-1), self._columns[block.problems].unsqueeze(-2)
        return torch.add(rows, columns, out=into).sub_(cost)

    def _exponents(self, block: Block, into: Tensor | None = None) -> Tensor:
        """Give the entries' logarithms to the base 2."""
        fine = self._fine_rows[block.of_rows].unsqueeze(-1), self._fine_columns[block.problems].unsqueeze(-2)
        rows, columns = (x.to(self._cost.dtype) for x in fine)
        return self._coarse(block, into).add_(rows).add_(columns).mul_(self._log2[block.problems])


def _split(x: Tensor, grid: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Give the nearest number on the grid, in the working type, and in float64 the rest, 0 for infinities."""
    finite = x.isfinite()
    near = torch.where(finite, (x / grid).round() * grid, x)
    return near.to(dtype), torch.where(finite, x - near, 0.0)
