"""Sinkhorn's algorithm with a closed-form mass step.

Row and column updates alone need about 7·Σa/M sweeps to move a small mass M into the real block. The mass step sets it
in closed form: with t = log(M / real mass), raise the real sources by t and lower the dummy target by t; the dummy row
and column are unchanged, so it is one more exact ascent step of the dual. Every iterate then moves M to the last
digit.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint  # pyright: ignore[reportUnknownVariableType]

from partialot.augmentation import BorderedProblem
from partialot.kernels import reference
from partialot.kernels.sweep import RowPass, Weights, column_pass, row_pass
from partialot.solvers.base import Potentials, Solver, SolverResult, Status

_LOOSEST = 1e-3
"""However much rounding there is, the default tolerance asks for this."""

_PATIENCE = 50
"""Sweeps without a tenth of progress after which a violation near the rounding error counts as its floor."""


@dataclass(frozen=True)
class Sinkhorn(Solver):
    """Alternating updates of the potentials, stable for any `reg`, each problem stopped by its own violation.

    Problems that are done are iterated no further, and a problem solved in a batch takes exactly the steps it takes
    alone.

    Attributes:
        max_iter: Most sweeps (one update of the rows, one of the columns, one of the mass).
        tol: Largest constraint violation, relative to the mass moved: Σ_i |row sum − weight| over the real plan's
            share of each row, and likewise for columns. None = 1e-5 in float32 and 1e-9 in float64, or what rounding
            permits where the spread of the cost over `reg` is so large that it permits less.

    References:
        Cuturi (2013), Sinkhorn distances; Peyré and Cuturi (2019), Computational optimal transport, section 4.4.
    """

    entropic: ClassVar[bool] = True
    max_iter: int = 5000
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse impossible settings.

        Raises:
            ValueError: `max_iter` is negative or `tol` is not positive.
        """
        if self.max_iter != int(self.max_iter) or self.max_iter < 0:
            raise ValueError(
                f"`max_iter` must be a whole number, at least 0. Found `max_iter = {self.max_iter}`. "
                "Pass the most sweeps you can afford."
            )
        if self.tol is not None and not 0 < self.tol < math.inf:
            raise ValueError(
                f"`tol` must be positive and finite. Found `tol = {self.tol}`. "
                "Pass None for the tightest that pays in the dtype."
            )

    @torch.no_grad()
    def run(self, problem: BorderedProblem, init: Potentials | None) -> SolverResult:
        """Sweep until every problem is done; see `Solver.run`."""
        loop = _Loop(problem, _starting_point(problem, init), self.tol)
        for sweep in range(self.max_iter + 1):
            rows = row_pass(loop.cost, loop.f, loop.g, loop.a, loop.b, loop.buffer)
            loop.judge(rows, sweep, last=sweep == self.max_iter)
            if not bool(loop.running.any()):
                break
            rows = loop.retire(rows)
            loop.update(rows)
        f, g = _complete(problem, loop.done_f, loop.done_g)
        return SolverResult(f, g, None, loop.n_iter, loop.error, loop.status)

    def unroll(self, problem: BorderedProblem, n_iter: Tensor) -> Potentials:
        """Repeat, from scratch, as many sweeps as each problem took, recording a graph that keeps potentials only.

        Args:
            problem: A flat batch.
            n_iter: Sweeps of each problem.
        """
        f, g = _starting_point(problem, None)
        for sweep in range(int(n_iter.max()) if n_iter.numel() else 0):
            running = (n_iter > sweep).unsqueeze(-1)
            # A checkpoint recomputes the matrices of its sweep in the backward pass instead of keeping them all.
            new_f, new_g = cast(Potentials, checkpoint(_differentiable_sweep, problem, f, g, use_reentrant=False))
            f, g = torch.where(running, new_f, f), torch.where(running, new_g, g)
        return _complete(problem, f, g)


class _Loop:
    """The working state: vectors of the problems still in work, and the answers of those that are done."""

    def __init__(self, problem: BorderedProblem, start: Potentials, tol: float | None) -> None:
        self.cost = problem.cost.detach().contiguous()
        self.f, self.g = start
        working = self.cost.dtype
        self.a, self.b = (Weights.of(side.detach().to(working)) for side in (problem.a, problem.b))
        self.mass = problem.mass.detach().to(working).clamp(min=torch.finfo(working).tiny)
        self.tol, self.floor = _tolerances(problem, tol)
        self.buffer = torch.empty_like(self.cost)
        self.index = torch.arange(self.cost.shape[0], device=self.cost.device)
        self.running = torch.ones_like(self.index, dtype=torch.bool)
        self.column_error = torch.full_like(self.mass, torch.inf)
        self.edge_share = self.mass.clone()
        self.best, self.stalled = torch.full_like(self.mass, torch.inf), torch.zeros_like(self.index)
        self.done_f, self.done_g = self.f.clone(), self.g.clone()
        self.error = torch.full_like(self.mass, torch.inf)
        self.n_iter = torch.zeros_like(self.index)
        self.status = torch.full_like(self.index, int(Status.ITERATION_LIMIT))

    def judge(self, rows: RowPass, sweep: int, *, last: bool) -> None:
        """Record the problems whose present potentials are good enough, hopeless, or the last there will be."""
        if sweep == 0:
            self.column_error = _first_column_error(self, rows)
        off = rows.log_total.expm1().abs() * rows.log_total.exp().clamp(min=1.0)
        row_error = (self.a.value * rows.fraction * off)[:, :-1].sum(-1)
        # The dummy source moves nothing; its error matters as far as columns share with it.
        row_error = row_error + self.edge_share * off[:, -1] * (1 - self.a.idle[:, -1])
        error = (row_error / self.mass + self.column_error).nan_to_num(nan=torch.inf)
        self.stalled = torch.where(error < 0.9 * self.best, 0, self.stalled + 1)
        self.best = torch.minimum(self.best, error)
        converged = error <= self.tol
        floored = (self.stalled >= _PATIENCE) & (error <= 16 * self.floor) & ~converged
        fresh = self.running if last else (converged | floored) & self.running
        if not bool(fresh.any()):
            return
        where = self.index[fresh]
        self.done_f[where], self.done_g[where] = self.f[fresh], self.g[fresh]
        self.error[where], self.n_iter[where] = error[fresh], sweep
        status = torch.where(converged, int(Status.CONVERGED), int(Status.ITERATION_LIMIT))
        self.status[where] = torch.where(floored, int(Status.PRECISION_FLOOR), status)[fresh]
        self.running = self.running & ~fresh

    def retire(self, rows: RowPass) -> RowPass:
        """Drop finished problems from the work once they are half of it: fewer copies than dropping each at once."""
        keep = self.running
        if 2 * int(keep.sum()) > keep.numel():
            return rows
        self.cost, self.f, self.g, self.mass = self.cost[keep], self.f[keep], self.g[keep], self.mass[keep]
        self.a, self.b = self.a.select(keep), self.b.select(keep)
        self.tol, self.floor, self.index = self.tol[keep], self.floor[keep], self.index[keep]
        self.best, self.stalled, self.running = self.best[keep], self.stalled[keep], self.running[keep]
        kept = rows.select(keep)
        self.buffer = kept.block
        return kept

    def update(self, rows: RowPass) -> None:
        """Update the rows, the columns, then the mass."""
        f = self.f - rows.log_total
        columns = column_pass(self.cost, rows, f, self.g, self.a, self.b)
        step = self.mass.log().unsqueeze(-1) - columns.log_mass
        self.f = torch.cat((f[:, :-1] + step, f[:, -1:]), dim=-1)
        self.g = torch.cat((self.g[:, :-1] - columns.log_total, -columns.edge - step), dim=-1)
        real = self.b.value[:, :-1] * columns.fraction * step.exp()
        self.column_error = (real * (columns.fraction * step.expm1()).abs()).sum(-1) / self.mass
        self.edge_share = (real * (1 - columns.fraction)).sum(-1)


def _tolerances(problem: BorderedProblem, tol: float | None) -> tuple[Tensor, Tensor]:
    """Give each problem's tolerance and the relative rounding error of its sums."""
    cost = problem.cost.detach()
    finite = cost if problem.forbidden is None else cost.masked_fill(problem.forbidden, 0.0)
    spread = finite.amax((-2, -1)) if cost.numel() else cost.new_zeros(cost.shape[0])
    # The argument f + g − cost is rounded at the size of its terms; sums then inherit that relative error. A few huge
    # prices that nothing pays must not make any answer good enough.
    floor = (torch.finfo(cost.dtype).eps * spread.clamp(min=1.0)).clamp(max=_LOOSEST / 32)
    usual = {torch.float32: 1e-5, torch.float64: 1e-9}[cost.dtype]
    return ((32 * floor).clamp(min=usual) if tol is None else torch.full_like(floor, tol)), floor


def _first_column_error(loop: _Loop, rows: RowPass) -> Tensor:
    """Measure the columns of the starting point, which no update has made right."""
    real = (rows.block * loop.a.value[:, :-1, None]).sum(-2)
    edge = loop.b.value[:, :-1] * loop.a.value[:, -1:] * (loop.f[:, -1:] + loop.g[:, :-1]).exp()
    border = loop.a.value[:, :-1] * (loop.f[:, :-1] + loop.g[:, -1:]).exp()
    wrong = (real + edge - loop.b.value[:, :-1]).abs().sum(-1)
    wrong = wrong + (border.sum(-1) - 1).abs() * loop.b.value[:, -1] + (real.sum(-1) - loop.mass).abs()
    return torch.where(rows.stable, wrong / loop.mass, torch.inf)


def _starting_point(problem: BorderedProblem, init: Potentials | None) -> Potentials:
    working = problem.cost.dtype
    if init is None:
        return problem.a.detach().new_zeros(problem.a.shape, dtype=working), problem.b.detach().new_zeros(
            problem.b.shape, dtype=working
        )
    return init[0].detach().to(working), init[1].detach().to(working)


def _complete(problem: BorderedProblem, f: Tensor, g: Tensor) -> Potentials:
    """Give nodes of weight 0, which took no part, the potentials that the others imply."""
    a, b = problem.a.to(f.dtype), problem.b.to(f.dtype)
    if bool((a <= 0).any()):
        f = torch.where(a > 0, f, reference.softmin(problem.cost, g, b))
    if bool((b <= 0).any()):
        g = torch.where(b > 0, g, reference.softmin(problem.cost.mT, f, a))
    return f, g


def _differentiable_sweep(problem: BorderedProblem, f: Tensor, g: Tensor) -> Potentials:
    """Do one sweep by its definition, for automatic differentiation."""
    working = f.dtype
    a, b = problem.a.to(working), problem.b.to(working)
    f = reference.softmin(problem.cost, g, b)
    g = reference.softmin(problem.cost.mT, f, a)
    log_real = reference.log_sums(problem.cost.mT, f[:, :-1], a[:, :-1])
    log_mass = reference.log_sums(-log_real.unsqueeze(-2), g[:, :-1], b[:, :-1])
    mass = problem.mass.to(working).clamp(min=torch.finfo(working).tiny).unsqueeze(-1)
    step = torch.where(log_mass.isfinite(), mass.log() - torch.where(log_mass.isfinite(), log_mass, 0.0), 0.0)
    return torch.cat((f[:, :-1] + step, f[:, -1:]), dim=-1), torch.cat((g[:, :-1], g[:, -1:] - step), dim=-1)
