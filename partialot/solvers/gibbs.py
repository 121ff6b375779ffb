"""The Gibbs kernel of a bordered problem during a solve: stored while that pays, else evaluated at every pass.

With potentials (f, g) the entries are b_j · exp(f_i + g_j − (c_ij − shift) / reg). An exponential costs several times
what reading a number does, so on a CPU the kernel is written out once the potentials settle and then only scaled;
before that, and wherever scaling would leave the range of the type, passes go back to the costs, which is safe at any
potentials. Every decision is taken problem by problem.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from partialot.augmentation import BorderedProblem
from partialot.kernels import dispatch, reference
from partialot.kernels.primitives import Entries, RowSums, RowUpdate, Source

_REACH = 14.0
"""How far, in natural logarithms, potentials may move from those the kernel was stored at: entries that the type
flushed to 0 stay 1e-13 of any sum."""

_SETTLED = 4.0
"""The kernel is stored after a pass that moved no potential further."""


class GibbsKernel:
    """The kernels of a flat batch, with what was stored of them.

    Attributes:
        unit: (batch,), exponents per unit of cost; `anneal` changes it.
    """

    def __init__(self, problem: BorderedProblem) -> None:
        self._problem = problem
        self._log_b = problem.b.detach()[:, :-1].log()
        self.unit = 1 / problem.scale.detach()
        self._matrix: Tensor | None = None
        self._is_stored = torch.zeros_like(self.unit, dtype=torch.bool)
        self._base: tuple[Tensor, Tensor] | None = None
        self._last: tuple[Tensor, Tensor] | None = None
        # At most so far are the potentials from those of the stored kernel; measured anew where that is too far.
        self._travelled = torch.full_like(self.unit, torch.inf)

    def row_pass(
        self,
        f: Float[Tensor, "batch n"],
        g: Float[Tensor, "batch m"],
        update: RowUpdate,
        running: Bool[Tensor, " batch"],
    ) -> RowSums:
        """Sum the rows of the running problems, update them, and sum the columns; see `reference.row_pass`."""
        if self._problem.matrix is not None and dispatch.gains_by_storing(self._problem.matrix):
            self._store_what_settled(f, g, running)
        self._last = f, g
        if self._matrix is None or self._base is None:
            return self._pass_over_costs(f, g, update, running)
        stored = self._is_stored.unsqueeze(-1)
        rows = torch.where(stored, f - self._base[0], f)
        columns = torch.where(stored, g - self._base[1], g + self._log_b)
        if update.ceiling is not None:
            update = update._replace(ceiling=torch.where(stored, update.ceiling - self._base[0], update.ceiling))
        return dispatch.row_pass(self._entries(rows, columns, running), update)

    def _pass_over_costs(self, f: Tensor, g: Tensor, update: RowUpdate, running: Tensor) -> RowSums:
        """Pass over the costs block by block; the one block of a matrix is the matrix."""
        source = torch.where(running, int(Source.COST), int(Source.NOTHING)).to(torch.int8)
        # Written in place: kept from block to block, small results would leave holes in the memory between large ones.
        whole = RowSums(torch.empty_like(f), torch.empty_like(f), torch.empty_like(f), torch.zeros_like(g))
        log_columns = g + self._log_b
        for rows in self._problem.row_blocks():
            entries = Entries(self._problem.prices(rows, self.unit), None, source, f[:, rows], log_columns)
            ceiling = None if update.ceiling is None else update.ceiling[:, rows]
            block = RowUpdate(update.edge[:, rows], update.log_weight[:, rows], update.relaxation, ceiling)
            sums = dispatch.row_pass(entries, block)
            for store, part in zip(whole[:3], sums[:3], strict=True):
                store[:, rows] = part
            whole.columns.add_(sums.columns)
        return whole

    def column_log_sums(self, rows: Float[Tensor, "batch n"], chosen: Bool[Tensor, " batch"]) -> Tensor:
        """Give log Σ_i exp(rows_i − (c_ij − shift) / reg) of the chosen problems, safe at any potentials."""
        total = rows.new_full((int(chosen.sum()), self._log_b.shape[1]), -torch.inf)
        for block in self._problem.row_blocks():
            prices = self._problem.prices(block, self.unit).select(chosen)
            total = torch.logaddexp(total, reference.column_log_sums(prices, rows[chosen][:, block]))
        return total

    @property
    def is_stored(self) -> Bool[Tensor, " batch"]:
        """Which problems have a stored kernel that serves the potentials of the last pass."""
        return self._is_stored

    def stored(self) -> tuple[Float[Tensor, "batch n m"], Float[Tensor, "batch n"], Float[Tensor, "batch m"]]:
        """Give the stored kernels, with b in their columns, and the potentials they were stored at."""
        assert self._matrix is not None
        assert self._base is not None
        return self._matrix, *self._base

    def anneal(self, unit: Float[Tensor, " batch"]) -> None:
        """Change the regularisation; what was stored of the problems concerned is void."""
        self._is_stored = self._is_stored & (unit == self.unit)
        self.unit = unit

    def plan(self, f: Float[Tensor, "batch n"], g: Float[Tensor, "batch m"]) -> Float[Tensor, "batch n m"] | None:
        """Write the plans exp(f + g − (c − shift) / reg) · b out, over what was stored; None where costs are lazy.

        Args:
            f: Potentials with the logarithms of whatever the rows are to be multiplied by.
            g: Potentials.
        """
        if self._problem.matrix is None:
            return None
        if self._matrix is None or self._base is None:
            self._matrix, self._base = _room(self._problem), (f, g)
        stored = self._is_stored.unsqueeze(-1)
        rows = torch.where(stored, f - self._base[0], f)
        # Nodes of weight 0 got new potentials, maybe far from those that were stored: 0 there, not 0 times infinity.
        columns = torch.where(stored & (self._log_b > -torch.inf), g - self._base[1], g + self._log_b)
        dispatch.write_out(self._entries(rows, columns, torch.ones_like(self._is_stored)))
        plan, self._matrix = self._matrix, None
        self._is_stored = torch.zeros_like(self._is_stored)
        return plan

    def _store_what_settled(self, f: Tensor, g: Tensor, running: Tensor) -> None:
        """Write out the kernels whose potentials settled and whose stored ones, if any, are out of reach."""
        if self._last is None:
            return
        moved = _distance((f, g), self._last)
        self._travelled = self._travelled + moved
        if self._base is not None and bool((self._is_stored & (self._travelled > _REACH)).any()):
            self._travelled = _distance((f, g), self._base)
            self._is_stored = self._is_stored & (self._travelled <= _REACH)
        wanted = running & ~self._is_stored & (moved <= _SETTLED)
        if not bool(wanted.any()):
            return
        if self._matrix is None or self._base is None:
            self._matrix, self._base = _room(self._problem), (f, g)
        source = torch.where(wanted, int(Source.COST), int(Source.NOTHING)).to(torch.int8)
        prices = self._problem.prices(slice(None), self.unit)
        dispatch.write_out(Entries(prices, self._matrix, source, f, g + self._log_b))
        chosen = wanted.unsqueeze(-1)
        self._base = torch.where(chosen, f, self._base[0]), torch.where(chosen, g, self._base[1])
        self._is_stored = self._is_stored | wanted
        self._travelled = torch.where(wanted, 0.0, self._travelled)

    def _entries(self, rows: Tensor, columns: Tensor, running: Tensor) -> Entries:
        source = torch.where(self._is_stored, int(Source.STORED), int(Source.COST))
        source = torch.where(running, source, int(Source.NOTHING)).to(torch.int8)
        return Entries(self._problem.prices(slice(None), self.unit), self._matrix, source, rows, columns)


def _room(problem: BorderedProblem) -> Tensor:
    assert problem.matrix is not None
    return torch.empty(problem.matrix.shape, dtype=problem.matrix.dtype, device=problem.matrix.device)


def _distance(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> Float[Tensor, " batch"]:
    """Give the largest difference of any potential."""
    apart = [(x - y).abs() for x, y in zip(one, other, strict=True)]
    sides = [x.amax(-1) if x.shape[-1] else x.new_zeros(x.shape[0]) for x in apart]
    return torch.maximum(*sides)
