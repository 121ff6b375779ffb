"""One exact transport problem by POT's network simplex, behind guards.

POT 0.9.7 prices with an absolute tolerance and compares totals to six decimals, so costs far from 1 give plans several
times too dear and weights far from 1 give none, with a warning at most. Costs are therefore brought to [0, 1] and
weights to total 1 first, and every answer is held against its own dual solution before it leaves.
"""

import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import ot  # pyright: ignore[reportMissingTypeStubs]
from numpy.typing import NDArray

from partialot.errors import InfeasibleProblemError, SolverError

Array = NDArray[np.float64]

_ROUNDING = 1e-9
"""Largest gap between primal and dual, in units of the cost range times the mass, that counts as rounding."""

_DUMMY_COPIES = 50
"""One dummy node of large degree stalls the simplex; at n = 1000, M = .5, 50 copies took 1.5 s where one took 4.9 s
(POT 0.9.7.post1 on two cores of an AMD Zen 4 virtual machine)."""


@dataclass(frozen=True)
class Programme:
    """One problem as arrays: costs (n, m) with inf, bordered weights of total 1, and the mass of the real block."""

    cost: Array
    a: Array
    b: Array
    mass: float


class Answer(NamedTuple):
    """Plan, derivatives with respect to a and b, price of mass, and whether pivots ran out."""

    plan: Array
    of_a: Array
    of_b: Array
    price: float
    limited: bool


def solve_programme(
    problem: Programme, affine: tuple[float, float], start: tuple[Array, Array] | None, max_iter: int, index: int
) -> Answer:
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
        _check_optimal(Programme(np.where(allowed, cost, np.inf), a, b, problem.mass), plan, (of_a, of_b, price), index)
    return Answer(plan, of_a * unit, of_b * unit, price * unit + low, limited)


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


def _check_optimal(problem: Programme, plan: Array, dual: tuple[Array, Array, float], index: int) -> None:
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
