"""Sinkhorn's algorithm with a closed-form mass step.

Row and column updates alone need about 7·Σa/M sweeps to move a small mass M into the real block. The mass step sets it in
closed form: with t = log(M / real mass), raise the real sources by t and lower the dummy target by t; the dummy row and column
are unchanged, so it is one more exact ascent step of the dual. Every iterate then moves M to the last digit.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from partialot.augmentation import BorderedProblem
from partialot.kernels import reference
from partialot.solvers.base import Solver, SolverResult, Status

Potentials = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Sinkhorn(Solver):
    """Alternating updates of the potentials, stable for any `reg`, each problem stopped by its own constraint violation.

    Problems that are done are iterated no further, and a problem solved in a batch takes exactly the steps it takes alone.

    Attributes:
        max_iter: Most sweeps (one update of the rows, one of the columns, one of the mass).
        tol: Largest constraint violation, relative to the mass moved: Σ_i |row sum − weight| over the real plan's share of
            each row, and likewise for columns. None = 1e-5 in float32 and 1e-9 in float64, or what rounding permits
            where the spread of the cost over `reg` is so large that it permits less.

    References:
        Cuturi (2013), Sinkhorn distances; Peyré and Cuturi (2019), Computational optimal transport, section 4.4.
    """

    max_iter: int = 5000
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse impossible settings.

        Raises:
            ValueError: `max_iter` is negative or `tol` is not positive.
        """
        if self.max_iter < 0:
            raise ValueError(
                f"`max_iter` must be at least 0. Found `max_iter = {self.max_iter}`. Pass the most sweeps you can afford."
            )
        if self.tol is not None and not self.tol > 0:
            raise ValueError(
                f"`tol` must be positive. Found `tol = {self.tol}`. Pass None for the tightest that pays in the dtype."
            )

    @torch.no_grad()
    def run(self, problem: BorderedProblem, init: Potentials | None) -> SolverResult:
        """Sweep until every problem is done; see `Solver.run`."""
        loop = _Loop.start(problem, init, self.tol)
        for sweep in range(self.max_iter + 1):
            rows = reference.row_pass(loop.cost, loop.f, loop.g, loop.a, loop.b, loop.buffer)
            loop.judge(rows, sweep, last=sweep == self.max_iter)
            if not bool(loop.running.any()):
                break
            rows = loop.retire(rows)
            loop.update(rows)
        f, g = _complete(problem, loop.done_f, loop.done_g)
        return SolverResult(f, g, None, loop.n_iter, loop.error, loop.status)

    def unroll(self, problem: BorderedProblem, init: Potentials | None, n_iter: Tensor) -> Potentials:
        """Repeat as many sweeps as each problem took, recording a graph that keeps potentials only.

        Args:
            problem: A flat batch.
            init: What the run started from.
            n_iter: Sweeps of each problem.
        """
        f, g = _starting_point(problem, init)
        for sweep in range(int(n_iter.max()) if n_iter.numel() else 0):
            running = (n_iter > sweep).unsqueeze(-1)
            # A checkpoint recomputes the matrices of its sweep in the backward pass instead of keeping them all.
            new_f, new_g = torch.utils.checkpoint.checkpoint(_differentiable_sweep, problem, f, g, use_reentrant=False)
            f, g = torch.where(running, new_f, f), torch.where(running, new_g, g)
        working = problem.cost.dtype
        a, b = problem.a.to(working), problem.b.to(working)
        return (
            torch.where(a > 0, f, reference.softmin(problem.cost, g, b)),
            torch.where(b > 0, g, reference.softmin(problem.cost.mT, f, a)),
        )


_PER_PROBLEM = ("cost", "f", "g", "a", "b", "mass", "tol", "floor", "index", "running", "column_error", "edge_share", "best", "stalled")


class _Loop:
    """The working state: vectors of the problems still in work, and the answers of those that are done."""

    def __init__(self, problem: BorderedProblem, f: Tensor, g: Tensor, tol: Tensor, floor: Tensor) -> None:
        self.cost = problem.cost.detach().contiguous()
        self.f, self.g = f, g
        self.a, self.b = problem.a.detach().to(f.dtype), problem.b.detach().to(f.dtype)
        self.mass = problem.mass.detach().to(f.dtype).clamp(min=torch.finfo(f.dtype).tiny)
        self.tol, self.floor = tol, floor
        self.buffer = torch.empty_like(self.cost)
        count = f.shape[0]
        self.index = torch.arange(count, device=f.device)
        self.running = torch.ones_like(self.index, dtype=torch.bool)
        self.column_error = torch.full_like(self.mass, torch.inf)
        self.edge_share = self.mass.clone()
        self.best, self.stalled = torch.full_like(self.mass, torch.inf), torch.zeros_like(self.index)
        self.done_f, self.done_g = f.clone(), g.clone()
        self.error = torch.full_like(self.mass, torch.inf)
        self.n_iter = torch.zeros_like(self.index)
        self.status = torch.full_like(self.index, Status.ITERATION_LIMIT)

    @classmethod
    def start(cls, problem: BorderedProblem, init: Potentials | None, tol: float | None) -> "_Loop":
        f, g = _starting_point(problem, init)
        cost = problem.cost.detach()
        finite = cost if problem.forbidden is None else cost.masked_fill(problem.forbidden, 0.0)
        spread = finite.amax((-2, -1)) if cost.numel() else f.new_zeros(f.shape[0])
        # The argument f + g − cost is rounded at the size of its terms; sums then inherit that relative error.
        floor = torch.finfo(f.dtype).eps * spread.clamp(min=1.0)
        usual = {torch.float32: 1e-5, torch.float64: 1e-9}[f.dtype]
        wanted = (8 * floor).clamp(min=usual) if tol is None else torch.full_like(floor, tol)
        return cls(problem, f, g, wanted, floor)

    def judge(self, rows: reference.RowPass, sweep: int, *, last: bool) -> None:
        """Record the problems whose present potentials are good enough, hopeless, or the last there will be."""
        if sweep == 0:
            self.column_error = _first_column_error(self, rows)
        off = rows.log_total.expm1().abs() * rows.log_total.exp().clamp(min=1.0)
        row_error = (self.a * rows.fraction * off)[:, :-1].sum(-1) + self.edge_share * off[:, -1] * (self.a[:, -1] > 0)
        error = (row_error / self.mass + self.column_error).nan_to_num(nan=torch.inf)
        self.stalled = torch.where(error < 0.9 * self.best, 0, self.stalled + 1)
        self.best = torch.minimum(self.best, error)
        converged = error <= self.tol
        floored = ~converged & (self.stalled >= 50) & (error <= 16 * self.floor)
        finished = converged | floored | last
        fresh = finished & self.running
        where = self.index[fresh]
        self.done_f[where], self.done_g[where] = self.f[fresh], self.g[fresh]
        self.error[where], self.n_iter[where] = error[fresh], sweep
        status = torch.where(converged, int(Status.CONVERGED), int(Status.ITERATION_LIMIT))
        self.status[where] = torch.where(floored, int(Status.PRECISION_FLOOR), status)[fresh]
        self.running = self.running & ~fresh

    def retire(self, rows: reference.RowPass) -> reference.RowPass:
        """Drop finished problems from the work once they are half of it: fewer copies than dropping each at once."""
        keep = self.running
        if 2 * int(keep.sum()) > keep.numel():
            return rows
        for name in _PER_PROBLEM:
            setattr(self, name, getattr(self, name)[keep])
        kept = reference.RowPass(*(tensor[keep] for tensor in rows))
        self.buffer = kept.block
        return kept

    def update(self, rows: reference.RowPass) -> None:
        """Update the rows, the columns, then the mass."""
        self.f = self.f - rows.log_total
        columns = reference.column_pass(self.cost, rows, self.f, self.g, self.a, self.b)
        edge = reference.softmin(self.cost.new_zeros(self.f.shape[0], 0, self.cost.shape[1]), self.f, self.a)
        self.g = torch.cat((self.g[:, :-1] - columns.log_total, edge[:, -1:]), dim=-1)
        log_b = self.b[:, :-1].log()
        step = self.mass.log() - torch.logsumexp(log_b + columns.log_fraction, dim=-1)
        step = torch.where(step.isfinite(), step, 0.0).unsqueeze(-1)
        self.f = torch.cat((self.f[:, :-1] + step, self.f[:, -1:]), dim=-1)
        self.g = torch.cat((self.g[:, :-1], self.g[:, -1:] - step), dim=-1)
        fraction = columns.log_fraction.exp()
        real = self.b[:, :-1] * (columns.log_fraction + step).exp()
        self.column_error = (real * (fraction * step.expm1()).abs()).sum(-1) / self.mass
        self.edge_share = (real * (1 - fraction)).sum(-1)


def _first_column_error(loop: _Loop, rows: reference.RowPass) -> Tensor:
    """Measure the columns of the starting point, which no update has made right."""
    real = (rows.block * loop.a[:, :-1, None]).sum(-2)
    edge = loop.b[:, :-1] * loop.a[:, -1:] * (loop.f[:, -1:] + loop.g[:, :-1]).exp()
    border = loop.a[:, :-1] * (loop.f[:, :-1] + loop.g[:, -1:]).exp()
    wrong = (real + edge - loop.b[:, :-1]).abs().sum(-1)
    wrong = wrong + (border.sum(-1) - 1).abs() * loop.b[:, -1] + (real.sum(-1) - loop.mass).abs()
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
    a, b = problem.a.detach().to(f.dtype), problem.b.detach().to(f.dtype)
    cost = problem.cost.detach()
    if bool((a <= 0).any()):
        f = torch.where(a > 0, f, reference.softmin(cost, g, b))
    if bool((b <= 0).any()):
        g = torch.where(b > 0, g, reference.softmin(cost.mT, f, a))
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
