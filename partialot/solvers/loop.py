"""The working state of Sinkhorn's algorithm: potentials, what the last pass found, and who is done."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from partialot.augmentation import BorderedProblem
from partialot.communicator import ALONE, Communicator
from partialot.kernels.primitives import RowSums, RowUpdate
from partialot.kernels.reference import safe_relaxation
from partialot.solvers.acceleration import Relaxation
from partialot.solvers.annealing import Annealing
from partialot.solvers.base import Potentials, SolverResult, Status
from partialot.solvers.gibbs import GibbsKernel

_USUAL = {torch.float32: 1e-5, torch.float64: 1e-9}
"""Violation asked for where the user asks for none."""

_PATIENCE = 50
"""Sweeps without a tenth of progress after which a violation near the rounding error counts as its floor."""


class _Sides(NamedTuple):
    """Weights over nodes (batch, n + 1) or (batch, m + 1) with their logarithms, -inf for 0."""

    value: Tensor
    log: Tensor

    @classmethod
    def of(cls, value: Tensor) -> "_Sides":
        return cls(value.detach(), value.detach().log())


class _Columns(NamedTuple):
    """Sums over the real columns after the rows' update: their logarithms, and that of the part from real sources."""

    log_total: Tensor
    log_real: Tensor


class Loop:
    """One solve. All vectors are float64; the costs keep their type.

    Attributes:
        running: (batch,), which problems are not yet done; the others are left alone.
        error: (batch,), constraint violation over the mass at the present potentials.
        used: (batch,), the factor ω of the last pass.
        products: (batch,), reads of the costs that were no sweeps.
    """

    def __init__(
        self,
        problem: BorderedProblem,
        init: Potentials | None,
        tol: float | None,
        *,
        over_relaxation: bool,
        annealing: bool,
        sweeps: int,
        newton: bool = False,
    ) -> None:
        self.problem, self.gibbs, self.ranks = problem, GibbsKernel(problem), problem.problem.ranks
        self.a, self.b = _Sides.of(problem.a), _Sides.of(problem.b)
        self.mass: Tensor = problem.mass.detach().clamp(min=torch.finfo(torch.float64).tiny)
        self.f, self.g = (
            (torch.zeros_like(self.a.value), torch.zeros_like(self.b.value))
            if init is None
            else (init[0].detach().double(), init[1].detach().double())
        )
        self.measures_start, self.sweeps = init is not None or sweeps == 0, sweeps
        self.tol, self.floor = _tolerances(problem, tol)
        self.relaxation = Relaxation(self.mass) if over_relaxation else None
        self.annealing = Annealing(problem, sweeps, wanted=annealing and init is None, newton=newton)
        self.running: Tensor = torch.ones_like(self.mass, dtype=torch.bool)
        self.column_error: Tensor = torch.full_like(self.mass, torch.inf)
        self.edge_share, self.corner = self.mass.clone(), torch.zeros_like(self.mass)
        self.best, self.error = self.column_error.clone(), self.column_error.clone()
        self.moved, self.edge = torch.zeros_like(self.mass), torch.zeros_like(self.mass)
        self.stalled: Tensor = torch.zeros_like(self.mass, dtype=torch.int64)
        self.n_iter, self.products = torch.zeros_like(self.stalled), torch.zeros_like(self.stalled)
        self.status: Tensor = torch.full_like(self.stalled, int(Status.ITERATION_LIMIT))

    @property
    def omega(self) -> Float[Tensor, " batch"]:
        """How far of the way to their optimum the next updates go."""
        return torch.ones_like(self.mass) if self.relaxation is None else self.relaxation.omega

    def sum_rows(self) -> RowSums:
        """Sum the rows at the present potentials, and the columns after the rows' update."""
        return self._row_pass(self.omega)

    def exact_rows(self) -> RowSums:
        """Sum the rows at the present potentials, ω being 1."""
        return self._row_pass(torch.ones_like(self.mass))

    def edge_sum(self) -> Float[Tensor, " batch"]:
        """Give the logarithm of the dummy source's sum over its weight, at the present potentials."""
        return self._edge(self.f[:, -1], self.b.log, self.g)

    def judge(self, rows: RowSums, sweep: int, *, last: bool) -> None:
        """Record the problems whose present potentials are good enough, hopeless, or the last there will be."""
        if sweep == 0 and self.measures_start:
            self.column_error = self._first_column_error()
        error, moved = self._measure(rows)
        self.error = torch.where(self.running, error, self.error)
        self.n_iter = torch.where(self.running, sweep + self.products, self.n_iter)
        self.moved = torch.where(self.running, moved, self.moved)
        self.stalled = torch.where(error < 0.9 * self.best, 0, self.stalled + 1)
        self.best = torch.minimum(error, self.best)
        converged = error <= self.tol
        floored = (self.stalled >= _PATIENCE) & (error <= 16 * self.floor) & ~converged
        ended = (converged | floored) & self.running & ~self.annealing.under_way
        status = torch.where(converged, int(Status.CONVERGED), int(Status.PRECISION_FLOOR))
        self.status = torch.where(ended, status, self.status)
        spent = self.running & (self.n_iter >= self.sweeps)
        fresh = self.running if last else ended | spent
        if bool(fresh.any()):
            self._complete_rows(rows, fresh)
            self.running = self.running & ~fresh
        if self.relaxation is not None:
            self.relaxation.observe(error)

    def _measure(self, rows: RowSums) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """Give the constraint violation and the mass that moves from this rank's sources."""
        self.edge = self.edge_sum()
        carried = self.a.value[:, :-1] * rows.fraction
        error = (carried * _off(rows.log_total)).sum(-1)
        of_edge = (self.edge_share + self.corner) * _off(self.edge) * (self.a.value[:, -1] > 0)
        error = (error + self.ranks.share(of_edge)) / self.mass + self.ranks.share(self.column_error)
        # All decisions follow from this one sum, which is equal on all ranks to the last bit.
        error = self.ranks.sum(error).nan_to_num(nan=torch.inf)
        return error, (carried * rows.log_total.exp()).sum(-1)

    def update(self, rows: RowSums) -> None:
        """Update the rows, the columns, then the mass, by the factor that `sum_rows` used."""
        f = self.f[:, :-1] + rows.moved
        edge = self.edge.unsqueeze(-1)
        f_edge = self.f[:, -1:] + self._step(edge)
        columns = self._sum_columns(rows, f, f_edge)
        moved = self._step(columns.log_total)
        log_mass = _log_sum_exp(columns.log_real + moved).unsqueeze(-1)
        g_edge = self._edge(self.g[:, -1], self.a.log, torch.cat((f, f_edge), dim=-1), self.ranks).unsqueeze(-1)
        g_edge = self.g[:, -1:] + self._step(g_edge)
        step = self._mass_step(log_mass, f_edge + g_edge)
        g = torch.cat((self.g[:, :-1] + moved, g_edge - step), dim=-1)
        f = torch.cat((f + step, f_edge), dim=-1)
        # What columns are off by, without differences of like numbers: the mass may be minute.
        real, left = (columns.log_real + moved).exp(), columns.log_total + moved
        share = (columns.log_real - columns.log_total - self.b.log[:, :-1]).exp().nan_to_num(nan=0.0)
        off = (self.b.value[:, :-1] * left.expm1() + real * step.expm1()).abs()
        self.column_error = ((off * share).sum(-1) + self.corner * step.squeeze(-1).expm1().abs()) / self.mass
        self.edge_share = (real * (1 - share)).sum(-1)
        running = self.running.unsqueeze(-1)
        self.f, self.g = torch.where(running, f, self.f), torch.where(running, g, self.g)
        self._anneal()

    def _edge(
        self, own: Tensor, log_weights: Tensor, others: Tensor, ranks: Communicator = ALONE
    ) -> Float[Tensor, " batch"]:
        """Give the logarithm of a dummy's sum over its weight; where mass has a price, the other dummy is in it."""
        seen = slice(None, -1 if self.problem.problem.price is None else None)
        return own + _log_sum_exp(log_weights[:, seen] + others[:, seen], ranks)

    def _mass_step(self, log_mass: Tensor, of_corner: Tensor) -> Float[Tensor, "batch 1"]:
        """Give what the real sources rise and the dummy target falls by, to the exact maximum of the dual."""
        if self.problem.problem.price is None:
            return self.mass.log().unsqueeze(-1) - log_mass
        # Raised by t, the real block grows by e^t and the corner falls by as much; the dual wants them equal.
        log_corner = self.a.log[:, -1:] + self.b.log[:, -1:] + of_corner
        self.mass = torch.where(self.running, ((log_corner + log_mass) / 2).exp().squeeze(-1), self.mass)
        self.mass = self.mass.clamp(min=torch.finfo(torch.float64).tiny)
        self.corner = self.mass
        return (log_corner - log_mass) / 2

    def _anneal(self) -> None:
        """Go on at another regularisation where the errors ask for it; what was measured at the last one is void."""
        if not self.annealing.pending:
            return
        unit = self.annealing.observe(self.error)
        changed = self.running & (unit != self.annealing.unit)
        if not bool(changed.any()):
            return
        unit = torch.where(changed, unit, self.annealing.unit)
        self.f, self.g = self.annealing.carry(self.f, self.g, unit)
        self.gibbs.anneal(unit)
        self.best, self.stalled = torch.where(changed, torch.inf, self.best), torch.where(changed, 0, self.stalled)
        self.begin_anew(changed)

    def begin_anew(self, changed: Bool[Tensor, " batch"]) -> None:
        """Forget how fast problems went whose potentials or regularisation were changed from outside."""
        self.column_error = torch.where(changed, torch.inf, self.column_error)
        if self.relaxation is not None:
            self.relaxation.restart(changed)

    def _step(self, log_total: Tensor) -> Tensor:
        """Give how far potentials move whose sums over their weights have these logarithms."""
        omega = self.used.unsqueeze(-1)
        # Most problems are done before anything is relaxed, and small ones are all overhead.
        return -log_total if not self.relaxes else -safe_relaxation(log_total, omega) * log_total

    def _row_pass(self, omega: Tensor) -> RowSums:
        self.used, self.relaxes = omega, bool((omega > 1).any())
        edge = self.b.log[:, -1:] + self.f[:, :-1] + self.g[:, -1:]
        update = RowUpdate(edge, self.a.log[:, :-1], omega, torch.full_like(edge, torch.inf))
        sums = self.gibbs.row_pass(self.f[:, :-1], self.g[:, :-1], update, self.running)
        return sums._replace(columns=self.ranks.sum(sums.columns))

    def result(self) -> SolverResult:
        """Give potentials and plan."""
        g = self._complete_columns()
        log_rows = self.f[:, :-1] + self.a.log[:, :-1] + self.problem.total.detach().log().unsqueeze(-1)
        # Exactly nothing moves where nothing is to move; the loop cannot divide by 0.
        nothing = (self.problem.mass.detach() <= 0).unsqueeze(-1)
        plan = self.gibbs.plan(torch.where(nothing, -torch.inf, log_rows), g[:, :-1])
        moved = self.ranks.sum(self.moved) * self.problem.total.detach()
        return SolverResult(self.f, g, plan, moved, self.n_iter, self.error, self.status)

    def _sum_columns(self, rows: RowSums, f: Tensor, f_edge: Tensor) -> _Columns:
        """Give logarithms of the columns' sums, the total over the weight; 0 for columns of weight 0."""
        log_edge = self.a.log[:, -1:] + f_edge + self.g[:, :-1]
        real = rows.columns
        total = real + (log_edge + self.b.log[:, :-1]).exp()
        idle = self.b.value[:, :-1] <= 0
        info = torch.finfo(self.problem.problem.a.dtype)
        least, most = info.tiny / info.eps, info.max
        lost = (real.sum(-1) < least) & (self.b.value[:, :-1].sum(-1) > 0)
        wild = self.running & (lost | ~((total > least) & (total < most) | idle).all(-1))
        log_real, log_total = real.log(), total.log() - torch.where(idle, 0.0, self.b.log[:, :-1])
        if bool(wild.any()):
            inner = self.ranks.log_sum_exp(self.gibbs.column_log_sums(self.a.log[:, :-1] + f, wild))
            log_real[wild] = inner + self.b.log[wild, :-1] + self.g[wild, :-1]
            log_total[wild] = torch.logaddexp(inner + self.g[wild, :-1], log_edge[wild])
        found = ~idle & log_total.isfinite()
        return _Columns(torch.where(found, log_total, 0.0), torch.where(found, log_real, -torch.inf))

    def _first_column_error(self) -> Float[Tensor, " batch"]:
        """Measure the columns of the starting point, which no update has made right; inf where they are far off."""
        used = self.used
        rows = self._row_pass(torch.zeros_like(self.mass))
        self.used = used
        edge = (self.a.log[:, -1:] + self.f[:, -1:] + self.g[:, :-1] + self.b.log[:, :-1]).exp()
        border = self.ranks.sum((self.a.log[:, :-1] + self.f[:, :-1] + self.g[:, -1:]).exp().sum(-1))
        if self.problem.problem.price is not None:
            self.corner = self.mass * (self.f[:, -1] + self.g[:, -1]).exp()
            border = border + self.corner / self.b.value[:, -1]
            self.mass = self.corner.clamp(min=torch.finfo(torch.float64).tiny)
        wrong = (rows.columns + edge - self.b.value[:, :-1]).abs().sum(-1)
        wrong = wrong + (border - 1).abs() * self.b.value[:, -1] + (rows.columns.sum(-1) - self.mass).abs()
        return torch.where(self.ranks.sum((rows.moved != 0).sum(-1)) == 0, wrong / self.mass, torch.inf)

    def _complete_rows(self, rows: RowSums, fresh: Tensor) -> None:
        """Give sources of weight 0, which took no part, the potentials that the others imply."""
        log_total = torch.cat((rows.log_total, self.edge.unsqueeze(-1)), dim=-1)
        idle = fresh.unsqueeze(-1) & (self.a.value <= 0) & log_total.isfinite()
        self.f = self.f - torch.where(idle, log_total, 0.0)

    def _complete_columns(self) -> Float[Tensor, "batch targets"]:
        """Give targets of weight 0, which took no part, the potentials that the others imply."""
        idle = self.b.value[:, :-1] <= 0
        g, edge = self.g[:, :-1], self.g[:, -1:]
        some = idle.any(-1)
        if bool(some.any()):
            real = self.ranks.log_sum_exp(self.gibbs.column_log_sums(self.a.log[:, :-1] + self.f[:, :-1], some))
            implied = -torch.logaddexp(real, (self.a.log[:, -1:] + self.f[:, -1:])[some])
            g = g.clone()
            g[some] = torch.where(idle[some] & implied.isfinite(), implied, torch.where(idle[some], 0.0, g[some]))
        implied = -_log_sum_exp(self.a.log[:, :-1] + self.f[:, :-1], self.ranks).unsqueeze(-1)
        edge = torch.where((self.b.value[:, -1:] <= 0) & implied.isfinite(), implied, edge)
        return torch.cat((g, edge), dim=-1)


def _off(log_total: Tensor) -> Tensor:
    """Give how far a sum over its weight is from 1; a sum far above 1 counts more, a missing one as 1."""
    return log_total.expm1().abs() * log_total.exp().clamp(min=1.0)


def _tolerances(problem: BorderedProblem, tol: float | None) -> tuple[Tensor, Tensor]:
    """Give each problem's tolerance and the relative rounding error of its sums.

    Exponents are formed without rounding, so that errors of sums do not grow with the cost over `reg`.
    """
    dtype = problem.problem.a.dtype
    floor = torch.full_like(problem.mass.detach(), 8 * torch.finfo(dtype).eps)
    return torch.full_like(floor, _USUAL[dtype] if tol is None else tol), floor


def _log_sum_exp(exponents: Tensor, ranks: Communicator = ALONE) -> Tensor:
    """Sum over the last dimension, and over ranks where that is one of sources; a finite number even of nothing."""
    nothing = not exponents.shape[-1]
    total = exponents.new_full(exponents.shape[:-1], -torch.inf) if nothing else torch.logsumexp(exponents, dim=-1)
    total = ranks.log_sum_exp(total)
    return torch.where(total.isfinite(), total, 0.0)
