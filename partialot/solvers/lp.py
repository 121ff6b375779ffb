"""The exact linear programme, problem by problem, at the scale at which its prices matter."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from partialot.augmentation import BorderedProblem
from partialot.solvers.base import Solver, SolverResult, Status
from partialot.solvers.network_simplex import Answer, Array, Programme, solve_programme

_CHEAP = 1e-5
"""Where the mean price paid is below this part of the range, the solve is repeated at the optimum's own scale."""

_HEADROOM = 1e3
"""How far above the mean price paid the prices are then capped."""


@dataclass(frozen=True)
class ExactLP(Solver):
    """The network simplex of Bonneel et al. (2011) as POT ships it, problem by problem, in float64 on the CPU.

    Answers are exact to rounding relative to the optimum, or, where the optimal plan itself uses pairs many orders
    dearer than its mean, relative to those. Potentials are optimal dual solutions. `Solution.n_iter` is 0: POT does
    not count its pivots.

    Attributes:
        max_iter: Most pivots for each problem.
    """

    entropic: ClassVar[bool] = False
    max_iter: int = 10_000_000

    def __post_init__(self) -> None:
        """Refuse impossible settings.

        Raises:
            ValueError: `max_iter` is not positive.
        """
        if self.max_iter != int(self.max_iter) or self.max_iter < 1:
            raise ValueError(
                f"`max_iter` must be a whole number, at least 1. Found `max_iter = {self.max_iter}`. "
                "Pass the most pivots you can afford."
            )

    def run(self, problem: BorderedProblem, init: tuple[Tensor, Tensor] | None) -> SolverResult:
        """Solve each problem of the batch; see `Solver.run`.

        Raises:
            InfeasibleProblemError: The allowed pairs cannot carry the mass.
            SolverError: POT's plan and dual solution contradict each other.
        """
        cost, a, b, mass = (
            tensor.detach().cpu().double().numpy() for tensor in (problem.cost, problem.a, problem.b, problem.mass)
        )
        starts = None if init is None else (_array(init[0]), _array(init[1]))
        plan, f, g = np.zeros_like(cost), np.zeros_like(a), np.zeros_like(b)
        limited = np.zeros(len(mass), dtype=bool)
        for index in range(len(mass)):
            programme = Programme(cost[index], a[index], b[index], float(mass[index]))
            start = None if starts is None else (starts[0][index], starts[1][index])
            plan[index], f[index], g[index], limited[index] = _solve_one(programme, start, self.max_iter, index)
        working = problem.cost.detach()
        pivots_left = torch.as_tensor(~limited, device=working.device)
        status = torch.where(pivots_left, int(Status.CONVERGED), int(Status.ITERATION_LIMIT))
        return SolverResult(
            f=working.new_tensor(f),
            g=working.new_tensor(g),
            plan=working.new_tensor(plan),
            n_iter=torch.zeros_like(status),
            error=working.new_tensor(_violation(plan, a, b, mass)),
            status=status,
        )


def _solve_one(
    problem: Programme, start: tuple[Array, Array] | None, max_iter: int, index: int
) -> tuple[Array, Array, Array, bool]:
    n, m = problem.cost.shape
    plan, f, g = np.zeros((n, m)), np.zeros(n + 1), np.zeros(m + 1)
    rows, columns = (np.flatnonzero(side[:-1] > 0) for side in (problem.a, problem.b))
    allowed = np.isfinite(problem.cost)
    if problem.mass <= 0 or not allowed[np.ix_(rows, columns)].any():
        # The first unit moved would take the cheapest pair: the one-sided price of mass at 0.
        price = problem.cost[np.ix_(rows, columns)].min(initial=np.inf)
        f[-1], g[:-1] = (-price, price) if np.isfinite(price) else (0.0, 0.0)
        return plan, f, g, False
    inner = Programme(
        problem.cost[np.ix_(rows, columns)],
        np.append(problem.a[rows], problem.a[-1]),
        np.append(problem.b[columns], problem.b[-1]),
        problem.mass,
    )
    inner_start = None if start is None else (start[0][np.append(rows, n)], start[1][np.append(columns, m)])
    inner_plan, sources, targets, price, limited = _simplex(inner, inner_start, max_iter, index)
    plan[np.ix_(rows, columns)] = inner_plan
    balanced = bool(problem.a[-1] <= 0 and problem.b[-1] <= 0)
    sources_all = _extend(problem.cost[:, columns] - price - targets, sources, rows, balanced)
    targets_all = _extend(problem.cost[rows].T - price - sources, targets, columns, balanced)
    # The gauge in which the dummy target's potential is 0: f is then the derivative with respect to a.
    f[:-1], f[-1], g[:-1] = sources_all, -price, targets_all + price
    return plan, f, g, limited


def _simplex(problem: Programme, start: tuple[Array, Array] | None, max_iter: int, index: int) -> Answer:
    """Solve a problem whose weights are all positive, at the scale at which its prices matter.

    The simplex compares prices to some ulps of the largest. Where the optimum is orders cheaper, prices are capped
    near it: an optimum of the capped problem that uses no capped pair is one of the problem itself, and its duals are
    valid.
    """
    allowed = np.isfinite(problem.cost)
    low, high = problem.cost[allowed].min(), problem.cost[allowed].max()
    unit = float(high - low) if high > low else 1.0
    answer = solve_programme(problem, (float(low), unit), start, max_iter, index)
    relative = (np.where(answer.plan > 0, problem.cost - low, 0.0) * answer.plan).sum() / problem.mass
    ceiling = _HEADROOM * relative
    while 0 < ceiling < unit and relative < _CHEAP * unit:
        finer = solve_programme(problem, (float(low), float(ceiling)), start, max_iter, index)
        if not (finer.plan[problem.cost - low >= ceiling] > 0).any():
            return finer
        ceiling *= _HEADROOM
    return answer


def _extend(reduced: Array, known: Array, where: NDArray[np.intp], balanced: bool) -> Array:
    """Give nodes of weight 0 the largest potential the dual allows."""
    best = reduced.min(axis=1, initial=np.inf if balanced else 0.0)
    best[~np.isfinite(best)] = 0.0
    best[where] = known
    return best


def _violation(plan: Array, a: Array, b: Array, mass: Array) -> Array:
    rows = (plan.sum(2) - a[:, :-1]).clip(min=0).sum(1)
    columns = (plan.sum(1) - b[:, :-1]).clip(min=0).sum(1)
    return np.maximum(np.maximum(rows, columns), abs(plan.sum((1, 2)) - mass)) / np.where(mass > 0, mass, 1.0)


def _array(side: Tensor) -> Array:
    return side.detach().cpu().double().numpy()
