"""The Gibbs kernel of a bordered problem during a solve: stored while that pays, else evaluated at every pass.

With potentials (f, g) the entries are b_j · exp(f_i + g_j − (c_ij − shift) / reg). An exponential costs several times
what reading a number does, so on a CPU a pass over the costs keeps the kernel, which is then only scaled: the first
pass where no entry can leave the range of the type, else one at which the potentials have settled. Before that, and
wherever scaling would leave the range, passes go back to the costs, which is safe at any potentials. Every decision is
taken problem by problem.
"""

import torch
from jaxtyping import Bool, Float, Int8
from torch import Tensor

from partialot.augmentation import BorderedProblem
from partialot.clouds import points_of
from partialot.kernels import dispatch
from partialot.kernels.points import CloudKernels, Points
from partialot.kernels.primitives import Entries, Marginals, RowSums, RowUpdate, Source
from partialot.kernels.stretch import Kernels, Limits, Rules, State, Stretch
from partialot.solvers.products import EvaluatedProducts, Products, StoredProducts

_REACH = 14.0
"""How far, in natural logarithms, potentials may always move from those the kernel was stored at: entries that the
type flushed to 0 stay 1e-13 of any sum. Where none was flushed, they may move until one would be."""

_RANGE = {torch.float32: 80.0, torch.float64: 690.0}
"""Natural logarithms of numbers of the type are below this, up and down, with some digits to spare for sums."""

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
        self._points = None if problem.matrix is not None else points_of(problem.problem)
        self._gains = problem.matrix is not None and dispatch.gains_by_storing(problem.matrix)
        self._matrix: Tensor | None = None
        self._is_stored = torch.zeros_like(self.unit, dtype=torch.bool)
        self._base: tuple[Tensor, Tensor] | None = None
        self._last: tuple[Tensor, Tensor] | None = None
        # At most so far are the potentials from those of the stored kernel, and so far they may be.
        self._travelled, self._reach = torch.full_like(self.unit, torch.inf), torch.full_like(self.unit, _REACH)

    def row_pass(
        self,
        f: Float[Tensor, "batch n"],
        g: Float[Tensor, "batch m"],
        update: RowUpdate,
        running: Bool[Tensor, " batch"],
    ) -> RowSums:
        """Sum the rows of the running problems, update them, and sum the columns; see `reference.row_pass`."""
        source = self._choose(f, g, running)
        if self._points is not None:
            return dispatch.cloud_pass(self._clouds(self._points, source).at(f, g, self._log_b), update)
        if self._problem.matrix is None:
            return self._pass_over_costs(f, g, update, source)
        kernels = self._kernels(source)
        if update.ceiling is not None and self._base is not None:
            served = (kernels.source == Source.STORED).unsqueeze(-1)
            update = update._replace(ceiling=torch.where(served, update.ceiling - self._base[0], update.ceiling))
        return dispatch.row_pass(kernels.at(f, g, self._log_b), update)

    @property
    def stretches(self) -> bool:
        """Whether costs are stored, or evaluated on the way, so that whoever passes over them can go on by itself."""
        return self._problem.matrix is not None or self._points is not None

    def stretch(
        self, marginals: Marginals, state: State, limits: Limits, running: Bool[Tensor, " batch"], rules: Rules
    ) -> Stretch:
        """Sweep on where no decision is due, and sum the rows; see `partialot.kernels.stretch`.

        Args:
            marginals: The weights.
            state: Where sweeps stand; what it says of how far potentials travelled is replaced.
            limits: When stretches end; likewise `reach` and `settled`.
            running: The problems to go on with.
            rules: By which sweeps are judged.
        """
        source = self._choose(state.iterate.f[:, :-1], state.iterate.g[:, :-1], running)
        reach = torch.where(self._is_stored, self._reach, torch.inf)
        settled = torch.full_like(reach, _SETTLED if self._gains else -torch.inf)
        state = state._replace(progress=state.progress._replace(travelled=self._travelled))
        limits = limits._replace(reach=reach, settled=settled)
        if self._points is not None:
            clouds = self._clouds(self._points, source)
            found = dispatch.cloud_stretch(clouds, marginals, state, limits, rules)
        else:
            found = dispatch.stretch(self._kernels(source), marginals, state, limits, rules)
        iterate, self._travelled = found.state.iterate, found.state.progress.travelled
        self._last = iterate.f[:, :-1], iterate.g[:, :-1]
        return found

    def _kernels(self, source: Int8[Tensor, " batch"]) -> Kernels:
        return Kernels(self._problem.prices(slice(None), self.unit), self._matrix, self._base, source)

    def _choose(self, f: Tensor, g: Tensor, running: Bool[Tensor, " batch"]) -> Int8[Tensor, " batch"]:
        """Decide where the next pass takes the entries from."""
        storing = self._to_be_stored(f, g, running)
        self._last = f, g
        source = torch.where(self._is_stored, int(Source.STORED), int(Source.COST))
        source = torch.where(storing, int(Source.STORING), source)
        self._is_stored = self._is_stored | storing
        return torch.where(running, source, int(Source.NOTHING)).to(torch.int8)

    def _pass_over_costs(self, f: Tensor, g: Tensor, update: RowUpdate, source: Tensor) -> RowSums:
        """Pass over lazy costs block by block, where no kernel evaluates them on the way."""
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

    def _clouds(self, points: Points, source: Int8[Tensor, " batch"]) -> CloudKernels:
        return CloudKernels(points, self.unit, self._problem.shift, source)

    def column_log_sums(self, rows: Float[Tensor, "batch n"], chosen: Bool[Tensor, " batch"]) -> Tensor:
        """Give log Σ_i exp(rows_i − (c_ij − shift) / reg) of the chosen problems, safe at any potentials."""
        if self._points is not None:
            source = torch.where(chosen, int(Source.COST), int(Source.NOTHING)).to(torch.int8)
            entries = self._clouds(self._points, source).at(rows, torch.zeros_like(self._log_b), self._log_b)
            return dispatch.cloud_column_log_sums(entries)[chosen]
        total = rows.new_full((int(chosen.sum()), self._log_b.shape[1]), -torch.inf)
        for block in self._problem.row_blocks():
            prices = self._problem.prices(block, self.unit).select(chosen)
            total = torch.logaddexp(total, dispatch.column_log_sums(prices, rows[chosen][:, block]))
        return total

    @property
    def gives_products(self) -> Bool[Tensor, " batch"]:
        """Which problems have `products`: where storing pays, those whose stored kernel served the last pass."""
        return self._is_stored if self._gains else torch.ones_like(self._is_stored)

    def products(
        self, rows: Float[Tensor, "batch n"], g: Float[Tensor, "batch m"], running: Bool[Tensor, " batch"]
    ) -> Products:
        """Give products with exp(rows + g − (c − shift) / reg) · b, of the running problems.

        Args:
            rows: Potentials with the logarithms of whatever the rows are to be multiplied by.
            g: Potentials.
            running: The others get undefined numbers.
        """
        if self._gains:
            assert self._matrix is not None
            assert self._base is not None
            return StoredProducts(self._matrix, (rows - self._base[0]).exp(), (g - self._base[1]).exp())
        source = torch.where(running, int(Source.COST), int(Source.NOTHING)).to(torch.int8)
        prices = self._problem.prices(slice(None), self.unit)
        return EvaluatedProducts(Entries(prices, None, source, rows, g + self._log_b))

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
        source = torch.where(self._is_stored, int(Source.STORED), int(Source.COST)).to(torch.int8)
        dispatch.write_out(Entries(self._problem.prices(slice(None), self.unit), self._matrix, source, rows, columns))
        plan, self._matrix = self._matrix, None
        self._is_stored = torch.zeros_like(self._is_stored)
        return plan

    def _to_be_stored(
        self, f: Float[Tensor, "batch n"], g: Float[Tensor, "batch m"], running: Bool[Tensor, " batch"]
    ) -> Bool[Tensor, " batch"]:
        """Tell whose kernel the next pass is to keep, stored ones out of reach being void, and note where it does."""
        matrix, nothing = self._problem.matrix, torch.zeros_like(self._is_stored)
        if matrix is None or not self._gains:
            return nothing
        if self._last is None:
            wanted = running & (self._extent(f, g) <= _RANGE[matrix.dtype] / 2)
        else:
            moved = _distance((f, g), self._last)
            self._travelled = self._travelled + moved
            if self._base is not None and bool((self._is_stored & (self._travelled > self._reach)).any()):
                self._travelled = _distance((f, g), self._base)
                self._is_stored = self._is_stored & (self._travelled <= self._reach)
            wanted = running & ~self._is_stored & (moved <= _SETTLED)
        if not bool(wanted.any()):
            return nothing
        if self._matrix is None or self._base is None:
            self._matrix, self._base = _room(self._problem), (f, g)
        chosen = wanted.unsqueeze(-1)
        self._base = torch.where(chosen, f, self._base[0]), torch.where(chosen, g, self._base[1])
        self._travelled = torch.where(wanted, 0.0, self._travelled)
        reach = (_RANGE[matrix.dtype] - self._extent(f, g)).clamp(min=_REACH)
        self._reach = torch.where(wanted, reach, self._reach)
        return wanted

    def _extent(self, f: Float[Tensor, "batch n"], g: Float[Tensor, "batch m"]) -> Float[Tensor, " batch"]:
        """Give a bound on the size of the exponents of pairs that are allowed, of targets with a weight."""
        problem = self._problem.problem
        ends = (x.reshape(-1) - self._problem.shift for x in (problem.lowest, problem.highest))
        costs = torch.maximum(*(x.abs() for x in ends)) * self.unit
        columns = torch.where(self._log_b > -torch.inf, g + self._log_b, 0.0)
        return costs + _largest(f) + _largest(columns)


def _room(problem: BorderedProblem) -> Tensor:
    assert problem.matrix is not None
    return torch.empty(problem.matrix.shape, dtype=problem.matrix.dtype, device=problem.matrix.device)


def _distance(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> Float[Tensor, " batch"]:
    """Give the largest difference of any potential."""
    return torch.maximum(*(_largest(x - y) for x, y in zip(one, other, strict=True)))


def _largest(x: Tensor) -> Float[Tensor, " batch"]:
    """Give the largest size of any number, 0 of none."""
    return x.abs().amax(-1) if x.shape[-1] else x.new_zeros(x.shape[0])
