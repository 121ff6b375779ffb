"""The exact linear programme, by the network simplex of POT behind two guards.

POT 0.9.7 prices with an absolute tolerance and compares totals to six decimals, so costs far from 1 give plans several
times too dear and weights far from 1 give none, with a warning at most. Costs are therefore brought to [0, 1] and
weights to total 1 first, and every answer is held against its own dual solution before it leaves.
"""

import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import ot  # pyright: ignore[reportMissingTypeStubs]
import torch
from numpy.typing import NDArray
from torch import Tensor

from partialot.augmentation import BorderedProblem
from partialot.errors import InfeasibleProblemError, SolverError
from partialot.solvers.base import Solver, SolverResult, Status

Array = NDArray[np.float64]

_ROUNDING = 1e-9
"""Largest gap between primal and dual, in units of the cost range times the mass, that counts as rounding."""

_CHEAP = 1e-5
"""Where the mean price paid is below this part of the range, the solve is repeated at the optimum's own scale."""

_HEADROOM = 1e3
"""How far above the mean price paid the prices are then capped."""

_DUMMY_COPIES = 50
"""One dummy node of large degree stalls the simplex; at n = 1000, M = .5, 50 copies took 1.5 s where one took 4.9 s
(POT 0.9.7.post1 on two cores of an AMD Zen 4 virtual machine)."""


@dataclass(frozen=True)
class ExactLP(Solver):
    """The network simplex of Bonneel et al. (2011) as POT ships it, problem by problem, in float64 on the CPU.

    Answers are exact to rounding relative to the optimum, or, where the optimal plan itself uses pairs many orders
    dearer than its mean, relative to those. Potentials are optimal dual solutions. `Solution.n_iter` is 0: POT does
    not count its pivots.

    Attributes:
        max_iter: Most pivots for each problem.
    """

    max_iter: int = 10_000_000

    def __post_init__(self) -> None:
        """Refuse impossible settings.

        Raises:
            ValueError: `max_iter` is not positive.
        """
        if self.max_iter < 1:
            raise ValueError(
                f"`max_iter` must be at least 1. Found `max_iter = {self.max_iter}`. "
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
            programme = _Programme(cost[index], a[index], b[index], float(mass[index]))
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


@dataclass(frozen=True)
class _Programme:
    """One problem as arrays: costs (n, m) with inf, bordered weights of total 1, and the mass of the real block."""

    cost: Array
    a: Array
    b: Array
    mass: float


def _solve_one(
    problem: _Programme, start: tuple[Array, Array] | None, max_iter: int, index: int
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
    inner = _Programme(
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


class _Answer(NamedTuple):
    """Plan, derivatives with respect to a and b, price of mass, and whether pivots ran out."""

    plan: Array
    of_a: Array
    of_b: Array
    price: float
    limited: bool


def _simplex(problem: _Programme, start: tuple[Array, Array] | None, max_iter: int, index: int) -> _Answer:
    """Solve a problem whose weights are all positive, at the scale at which its prices matter.

    The simplex compares prices to some ulps of the largest. Where the optimum is orders cheaper, prices are capped
    near it: an optimum of the capped problem that uses no capped pair is one of the problem itself, and its duals are
    valid.
    """
    allowed = np.isfinite(problem.cost)
    low, high = problem.cost[allowed].min(), problem.cost[allowed].max()
    unit = float(high - low) if high > low else 1.0
    answer = _pivot(problem, (float(low), unit), start, max_iter, index)
    relative = (np.where(answer.plan > 0, problem.cost - low, 0.0) * answer.plan).sum() / problem.mass
    ceiling = _HEADROOM * relative
    while 0 < ceiling < unit and relative < _CHEAP * unit:
        finer = _pivot(problem, (float(low), float(ceiling)), start, max_iter, index)
        if not (finer.plan[problem.cost - low >= ceiling] > 0).any():
            return finer
        ceiling *= _HEADROOM
    return answer


def _pivot(
    problem: _Programme, affine: tuple[float, float], start: tuple[Array, Array] | None, max_iter: int, index: int
) -> _Answer:
    """Run the simplex on prices (cost − low) / unit, those above 1 taken for 1."""
    n, m = problem.cost.shape
    low, unit = affine
    allowed = np.isfinite(problem.cost)
    # No alternating path is dearer than its number of arcs, so nothing gains by a forbidden pair that it can avoid.
    forbidden = float(n + m + 2)
    cost = np.where(allowed, ((problem.cost - low) / unit).clip(max=1.0), forbidden)
    # No node can send or take more than the whole mass: capping keeps small masses beside large weights exact.
    a, b = np.minimum(problem.a[:-1], problem.mass), np.minimum(problem.b[:-1], problem.mass)
    spare_a, spare_b = _spare(a, problem.mass, problem.b[-1]), _spare(b, problem.mass, problem.a[-1])
    copies = min(_DUMMY_COPIES, 1 + max(n, m) // 20)
    extra_a, extra_b = copies * (spare_b > 0), copies * (spare_a > 0)
    bordered = np.pad(cost, ((0, extra_a), (0, extra_b)))
    bordered[n:, m:] = forbidden
    source = np.append(a, np.full(extra_a, spare_b / copies))
    target = np.append(b, np.full(extra_b, spare_a / copies))
    warm = None if start is None else _warm_start(start, affine, (extra_a, extra_b))
    flow, u, v, limited = _network_simplex(source, target, bordered, warm, max_iter, index)
    plan = flow[:n, :m]
    lost = plan[~allowed].sum() / problem.mass
    if lost > _ROUNDING:
        raise InfeasibleProblemError(
            f"The pairs that `cost` allows must be able to carry the mass. Found {lost:.3g} of the mass of problem "
            f"{index} without an allowed way. Allow more pairs (finite costs), or pass a smaller `mass`."
        )
    plan[~allowed] = 0
    of_a, of_b, price = _derivatives(u, v, (n, m), (extra_a > 0, extra_b > 0))
    if extra_a or extra_b:
        price = _uncap(of_a, problem.a[:-1] > problem.mass, price)
        price = _uncap(of_b, problem.b[:-1] > problem.mass, price)
    if not limited:
        _check_optimal(
            _Programme(np.where(allowed, cost, np.inf), a, b, problem.mass), plan, (of_a, of_b, price), index
        )
    return _Answer(plan, of_a * unit, of_b * unit, price * unit + low, limited)


def _network_simplex(
    source: Array, target: Array, cost: Array, warm: tuple[Array, Array] | None, max_iter: int, index: int
) -> tuple[Array, Array, Array, bool]:
    """Call POT with totals of 1, and believe no answer that came with a warning."""
    total = source.sum()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flow, log = cast(
            "tuple[Array, dict[str, Any]]",
            ot.emd(  # pyright: ignore[reportUnknownMemberType]
                source / total,
                target / target.sum(),
                cost,
                numItermax=max_iter,
                log=True,
                center_dual=False,
                check_marginals=False,
                potentials_init=warm,
            ),
        )
    limited = log["warning"] is not None and "numItermax" in log["warning"]
    if log["warning"] is not None and not limited:
        raise SolverError(
            f"The network simplex must end at an optimum. POT ended problem {index} with «{log['warning']}». "
            "Report the problem, or solve it with `reg` set."
        )
    return flow * total, log["u"], log["v"], limited


def _spare(weights: Array, mass: float, dummy: float) -> float:
    """Give what a side keeps, its dummy's weight after capping; 0 where there was no dummy or only rounding is left."""
    spare = weights.sum() - mass
    return float(spare) if dummy > 0 and spare > 8 * np.finfo(float).eps * weights.sum() else 0.0


def _warm_start(
    start: tuple[Array, Array], affine: tuple[float, float], copies: tuple[int, int]
) -> tuple[Array, Array]:
    low, unit = affine
    (f, f_dummy), (g, g_dummy) = ((side[:-1], side[-1]) for side in start)
    return (
        np.append(f - low, np.full(copies[0], f_dummy)) / unit,
        np.append(g, np.full(copies[1], g_dummy + low)) / unit,
    )


def _derivatives(u: Array, v: Array, size: tuple[int, int], dummies: tuple[bool, bool]) -> tuple[Array, Array, float]:
    """Turn dual solutions into dV/da, dV/db and dV/dM; a missing dummy gets the highest potential the dual allows."""
    n, m = size
    u_dummy = u[n] if dummies[0] else -v[:m].max()
    v_dummy = v[m] if dummies[1] else -u[:n].max()
    return u[:n] + v_dummy, v[:m] + u_dummy, -float(u_dummy + v_dummy)


def _uncap(derivative: Array, capped: NDArray[np.bool_], price: float) -> float:
    """Move what the cap P_i ≤ M charges to the price of mass, which it merely repeats."""
    charge = min(0.0, derivative[capped].min(initial=0.0))
    derivative[capped] = 0.0
    return price + charge


def _extend(reduced: Array, known: Array, where: NDArray[np.intp], balanced: bool) -> Array:
    """Give nodes of weight 0 the largest potential the dual allows."""
    best = reduced.min(axis=1, initial=np.inf if balanced else 0.0)
    best[~np.isfinite(best)] = 0.0
    best[where] = known
    return best


def _check_optimal(problem: _Programme, plan: Array, dual: tuple[Array, Array, float], index: int) -> None:
    """Weak duality makes any feasible pair of equal value optimal, whoever found it."""
    sources, targets, price = dual
    primal = float((np.where(plan > 0, problem.cost, 0.0) * plan).sum())
    value = float(sources @ problem.a + targets @ problem.b + price * problem.mass)
    excess = float((sources[:, None] + targets + price - problem.cost).max())
    gap = max(abs(primal - value) / problem.mass, excess)
    if gap > _ROUNDING:
        raise SolverError(
            "The plan and the dual solution of the network simplex must agree. "
            f"Found them {gap:.3g} cost ranges apart in problem {index}. Report it, or solve it with `reg` set."
        )


def _violation(plan: Array, a: Array, b: Array, mass: Array) -> Array:
    rows = (plan.sum(2) - a[:, :-1]).clip(min=0).sum(1)
    columns = (plan.sum(1) - b[:, :-1]).clip(min=0).sum(1)
    return np.maximum(np.maximum(rows, columns), abs(plan.sum((1, 2)) - mass)) / np.where(mass > 0, mass, 1.0)


def _array(side: Tensor) -> Array:
    return side.detach().cpu().double().numpy()
