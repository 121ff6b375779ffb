"""Sinkhorn's algorithm with a closed-form mass step.

Row and column updates alone need about 7·Σa/M sweeps to move a small mass M into the real block. The mass step sets it
in closed form: with t = log(M / real mass), raise the real sources by t and lower the dummy target by t; the dummy row
and column are unchanged, so it is one more exact ascent step of the dual. Every iterate then moves M to the last
digit.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from partialot.augmentation import BorderedProblem
from partialot.communicator import ALONE
from partialot.kernels import dispatch
from partialot.solvers.ahead import sum_rows
from partialot.solvers.annealing import PATIENT, STEPPING, SWEEPING
from partialot.solvers.base import Potentials, Solver, SolverResult
from partialot.solvers.capped import CappedLoop
from partialot.solvers.loop import Loop
from partialot.solvers.newton import Newton

_PLENTY = 1000
"""Sweeps from which on some hundreds may be spent on doing without steps."""


@dataclass(frozen=True)
class Sinkhorn(Solver):
    """Alternating updates of the potentials, stable for any `reg`, each problem stopped by its own violation.

    Problems that are done are iterated no further, and a problem solved in a batch takes exactly the steps it takes
    alone; on a CPU with native kernels its numbers are then those it has alone to the last bit.

    Attributes:
        max_iter: Most sweeps (one update of the rows, one of the columns, one of the mass): reads of the costs.
        tol: Largest constraint violation, relative to the mass moved: Σ_i |row sum − weight| over the real plan's
            share of each row, and likewise for columns. None = 1e-5 in float32 and 1e-9 in float64.
        over_relaxation: Whether updates go further than their optimum, by a factor taken from the measured
            contraction (`partialot.solvers.acceleration`): the same answer in up to five times fewer sweeps.
        annealing: Whether a problem that stalls is solved roughly at a larger `reg` first, which is then lowered to
            its own (`partialot.solvers.annealing`). Not after a warm start.
        newton: Whether a problem on which sweeps crawl gets truncated Newton steps (`partialot.solvers.newton`), while
            it is annealed and at its own `reg`: on a CPU, and on GPUs that the kernels in Triton serve; not for lazy
            costs, nor for sharded or capped problems. Each read of the kernel that a step takes counts as a sweep in
            `Solution.n_iter`.

    References:
        Cuturi (2013), Sinkhorn distances; Peyré and Cuturi (2019), Computational optimal transport, section 4.4.
    """

    entropic: ClassVar[bool] = True
    max_iter: int = 5000
    tol: float | None = None
    over_relaxation: bool = True
    annealing: bool = True
    newton: bool = True

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
        kind = CappedLoop if problem.problem.formulation == "capped" else Loop
        # All rows in one place, and the usual sweeps.
        is_usual = kind is Loop and problem.problem.ranks is ALONE
        matrix, schedule = problem.matrix if is_usual else None, SWEEPING
        if self.newton and matrix is not None and dispatch.multiplies(matrix):
            patient = self.max_iter >= _PLENTY and dispatch.sweeps_are_cheap(matrix)
            schedule = PATIENT if patient else STEPPING
        loop = kind(
            problem,
            init,
            self.tol,
            over_relaxation=self.over_relaxation,
            annealing=self.annealing,
            sweeps=int(self.max_iter),
            schedule=schedule,
        )
        newton = Newton(loop.mass, int(self.max_iter), schedule.step) if schedule.step else None
        while True:
            rows = sum_rows(loop, newton) if is_usual and loop.gibbs.stretches else loop.sum_rows()
            loop.judge(rows)
            if not bool(loop.running.any()):
                return loop.result()
            loop.update(rows if newton is None else newton.step(loop, rows))
