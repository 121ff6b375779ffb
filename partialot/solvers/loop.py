"""The working state of Sinkhorn's algorithm: potentials, what the last pass found, and who is done."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from partialot.augmentation import BorderedProblem
from partialot.kernels import dispatch
from partialot.kernels.border import log_dummy, log_sum_exp
from partialot.kernels.primitives import Iterate, Marginals, RowSums, RowUpdate
from partialot.solvers.acceleration import Relaxation
from partialot.solvers.annealing import SWEEPING, Annealing, Schedule
from partialot.solvers.base import Potentials, SolverResult, Status
from partialot.solvers.gibbs import GibbsKernel

_USUAL = {torch.float32: 1e-5, torch.float64: 1e-9}
"""Violation asked for where the user asks for none."""

PATIENCE = 50
"""Sweeps without a tenth of progress after which a violation near the rounding error counts as its floor."""

NEAR_FLOOR = 16.0
"""Times the rounding error that is near it."""


class _Sides(NamedTuple):
    """Weights over nodes (batch, n + 1) or (batch, m + 1) with their logarithms, -inf for 0."""

    value: Tensor
    log: Tensor

    @classmethod
    def of(cls, value: Tensor) -> "_Sides":
        return cls(value.detach(), value.detach().log())


class Loop:
    """One solve. All vectors are float64; the costs keep their type.

    Attributes:
        running: (batch,), which problems are not yet done; the others are left alone.
        error: (batch,), constraint violation over the mass at the present potentials.
        used: (batch,), the factor ω of the last pass.
        made: (batch,), the sweeps so far.
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
        schedule: Schedule = SWEEPING,
    ) -> None:
        self.problem, self.gibbs, self.ranks = problem, GibbsKernel(problem), problem.problem.ranks
        self.a, self.b = _Sides.of(problem.a), _Sides.of(problem.b)
        self.has_idle_rows = bool((self.a.value <= 0).any())
        priced = problem.problem.price is not None
        self.marginals = Marginals(self.a.value, self.a.log, self.b.value, self.b.log, priced)
        self.mass: Tensor = problem.mass.detach().clamp(min=torch.finfo(torch.float64).tiny)
        self.f, self.g = (
            (torch.zeros_like(self.a.value), torch.zeros_like(self.b.value))
            if init is None
            else (init[0].detach().double(), init[1].detach().double())
        )
        self.measures_start, self.sweeps = init is not None or sweeps == 0, sweeps
        self.tol, self.floor = _tolerances(problem, tol)
        # Sums that agree to the last bit say no more than that.
        self.can_tell: Tensor = self.tol >= torch.finfo(problem.problem.a.dtype).eps
        self.relaxation = Relaxation(self.mass, wanted=over_relaxation)
        self.annealing = Annealing(problem, sweeps, schedule, wanted=annealing and init is None)
        self.running: Tensor = torch.ones_like(self.mass, dtype=torch.bool)
        self.column_error: Tensor = torch.full_like(self.mass, torch.inf)
        self.edge_share, self.corner = self.mass.clone(), torch.zeros_like(self.mass)
        self.best, self.error = self.column_error.clone(), self.column_error.clone()
        self.moved, self.edge = torch.zeros_like(self.mass), torch.zeros_like(self.mass)
        self.stalled = torch.zeros_like(self.mass)
        self.n_iter = torch.zeros_like(self.mass, dtype=torch.int64)
        self.made, self.products = torch.zeros_like(self.mass), torch.zeros_like(self.mass)
        self.status: Tensor = torch.full_like(self.n_iter, int(Status.ITERATION_LIMIT))

    def sum_rows(self) -> RowSums:
        """Sum the rows at the present potentials, and the columns after the rows' update."""
        return self._row_pass(self.relaxation.omega)

    def exact_rows(self) -> RowSums:
        """Sum the rows at the present potentials, ω being 1."""
        return self._row_pass(torch.ones_like(self.mass))

    def edge_sum(self) -> Float[Tensor, " batch"]:
        """Give the logarithm of the dummy source's sum over its weight, at the present potentials."""
        return log_dummy(self.marginals, self.b.log, self.g, self.f)

    def judge(self, rows: RowSums) -> None:
        """Record the problems whose present potentials are good enough, hopeless, or the last there will be."""
        if self.measures_start and not bool(self.made.any()):
            self.column_error = self._first_column_error()
        error, moved = self._measure(rows)
        self.error = torch.where(self.running, error, self.error)
        reads = (self.made + self.products).to(self.n_iter.dtype)
        self.n_iter = torch.where(self.running, reads, self.n_iter)
        self.moved = torch.where(self.running, moved, self.moved)
        self.stalled = torch.where(error < 0.9 * self.best, 0, self.stalled + 1)
        self.best = torch.minimum(error, self.best)
        converged = error <= self.tol
        floored = (self.stalled >= PATIENCE) & (error <= NEAR_FLOOR * self.floor) & ~converged
        ended = (converged | floored) & self.running & ~self.annealing.under_way
        status = torch.where(converged & self.can_tell, int(Status.CONVERGED), int(Status.PRECISION_FLOOR))
        self.status = torch.where(ended, status, self.status)
        spent = self.running & (self.n_iter >= self.sweeps)
        fresh = ended | spent
        if bool(fresh.any()):
            self._complete_rows(rows, fresh)
            self.running = self.running & ~fresh
        if bool(self.running.any()):
            self.relaxation.observe(error)

    def _measure(self, rows: RowSums) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """Give the constraint violation and the mass that moves from this rank's sources."""
        measured = dispatch.measure(self.marginals, self.iterate, rows, self.ranks)
        self.edge = measured.edge
        return measured.error, measured.moved

    def update(self, rows: RowSums) -> None:
        """Update the rows, the columns, then the mass, by the factor that `sum_rows` used."""
        following, wild = self._follow(rows, None)
        if bool(wild.any()):
            log_columns = rows.columns.log()
            # Sums that left their range are taken again, the largest term divided out.
            inner = self.gibbs.column_log_sums(self.a.log[:, :-1] + self.f[:, :-1] + rows.moved, wild)
            log_columns[wild] = self.ranks.log_sum_exp(inner) + self.b.log[wild, :-1] + self.g[wild, :-1]
            again, _ = self._follow(rows, log_columns)
            # The others keep what they had, to the last bit, whoever is beside them.
            following = Iterate(
                *(
                    torch.where(wild.view(-1, *[1] * (new.ndim - 1)), new, old)
                    for new, old in zip(again, following, strict=True)
                )
            )
        self.take(following)
        self._go_on()

    def take(self, iterate: Iterate) -> None:
        """Go on from another iterate."""
        self.f, self.g, self.mass, self.corner, self.column_error, self.edge_share = iterate

    def _go_on(self) -> None:
        """Count the sweep of the problems that run."""
        self.made = self.made + self.running
        self._anneal()

    def _follow(self, rows: RowSums, log_columns: Tensor | None) -> tuple[Iterate, Bool[Tensor, " batch"]]:
        """Give the next iterate of the problems that run, and whose columns it could not know."""
        dtype = self.problem.problem.a.dtype
        return dispatch.update(
            self.marginals, self.iterate, rows, log_columns, self.edge, self.used, self.running, dtype, self.ranks
        )

    @property
    def iterate(self) -> Iterate:
        """Where the sweeps stand."""
        return Iterate(self.f, self.g, self.mass, self.corner, self.column_error, self.edge_share)

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
        self.relaxation.restart(changed)

    def _row_pass(self, omega: Tensor) -> RowSums:
        self.used = omega
        edge = self.b.log[:, -1:] + self.f[:, :-1] + self.g[:, -1:]
        update = RowUpdate(edge, self.a.log[:, :-1], omega, None)
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
        if not self.has_idle_rows:
            return
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
        implied = -log_sum_exp(self.a.log[:, :-1] + self.f[:, :-1], self.ranks).unsqueeze(-1)
        edge = torch.where(self.b.value[:, -1:] > 0, edge, implied)
        return torch.cat((g, edge), dim=-1)


def _tolerances(problem: BorderedProblem, tol: float | None) -> tuple[Tensor, Tensor]:
    """Give each problem's tolerance and the relative rounding error of its sums.

    Exponents are formed without rounding, so that errors of sums do not grow with the cost over `reg`.
    """
    dtype = problem.problem.a.dtype
    floor = torch.full_like(problem.mass.detach(), 8 * torch.finfo(dtype).eps)
    return torch.full_like(floor, _USUAL[dtype] if tol is None else tol), floor
