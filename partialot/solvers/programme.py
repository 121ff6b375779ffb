"""One exact problem, brought to the units in which the simplex is exact, and its answer held against its dual.

Costs far from 1, weights beside a small mass and forbidden pairs all cost the simplex digits, which is why each is
scaled, capped or priced as low as it can be before the simplex sees it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from partialot.errors import InfeasibleProblemError, SolverError
from partialot.solvers.network_simplex import Array, Flow, Indices, Network
from partialot.solvers.shortlist import transport_by_shortlist

_ROUNDING = 1e-9
"""Largest gap between primal and dual, in units of the cost range times the mass, that counts as rounding."""

_LOST = 1e-13
"""Part of the mass on forbidden pairs that counts as rounding."""

_DETOUR = 4.0
"""First price of a forbidden pair, in units of the cost range: few ways around one are dearer."""

_BLOCK = 1 << 17
"""Entries checked at a time: they stay in cache."""


@dataclass(frozen=True)
class Programme:
    """One problem as arrays.

    Attributes:
        cost: Prices (n, m); any number at forbidden pairs.
        forbidden: Which pairs are forbidden; None where none is.
        a: Weights of the sources and of the dummy, total 1, the real ones above 0.
        b: Weights of the targets and of the dummy.
        mass: What the real block has to carry, above 0.
    """

    cost: Array
    forbidden: NDArray[np.bool_] | None
    a: Array
    b: Array
    mass: float


class Answer(NamedTuple):
    """The pairs that carry mass and how much, derivatives with respect to a and b, price of mass, pivots ran out."""

    rows: Indices
    columns: Indices
    amounts: Array
    of_a: Array
    of_b: Array
    price: float
    limited: bool


def solve_programme(
    problem: Programme, affine: tuple[float, float], start: tuple[Array, Array] | None, max_iter: int, index: int
) -> Answer:
    """Run the simplex on prices (cost − low) / unit, those above 1 taken for 1.

    Raises:
        InfeasibleProblemError: The allowed pairs cannot carry the mass.
        SolverError: Plan and dual solution contradict each other.
    """
    low, unit = affine
    prices = problem.cost - low
    prices /= unit
    np.minimum(prices, 1.0, out=prices)
    # No node can send or take more than the whole mass: capping keeps small masses beside large weights exact.
    a, b = np.minimum(problem.a[:-1], problem.mass), np.minimum(problem.b[:-1], problem.mass)
    kept, lacking = _spare(a, problem.mass, problem.b[-1]), _spare(b, problem.mass, problem.a[-1])
    warm = None if start is None else _warm_start(start, affine)
    # No alternating path is dearer than its number of arcs, so nothing gains by a forbidden pair that it can avoid.
    highest = float(sum(prices.shape) + 2)
    detour = 1.0 if problem.forbidden is None else min(_DETOUR, highest)
    while True:
        if problem.forbidden is not None:
            prices[problem.forbidden] = detour
        network = Network(prices, a, b, kept, lacking, detour)
        flow, lost = _transport(network, problem, warm, max_iter, index)
        if lost <= _LOST or detour >= highest or flow.limited:
            break
        # The dearer the pair, the fewer digits are left for the others: dearer only where that was too cheap.
        detour = min(64 * detour, highest)
    if lost > _ROUNDING and not flow.limited:
        raise InfeasibleProblemError(
            f"The pairs that `cost` allows must be able to carry the mass. Found {lost:.3g} of the mass of problem "
            f"{index} without an allowed way. Allow more pairs (finite costs), or pass a smaller `mass`."
        )
    of_a, of_b, price = _derivatives(flow, prices.shape)
    if kept or lacking:
        price = _uncap(of_a, problem.a[:-1] > problem.mass, price)
        price = _uncap(of_b, problem.b[:-1] > problem.mass, price)
    if not flow.limited:
        _check_optimal(network, flow, (of_a, of_b, price), problem.mass, index)
    flow = flow if problem.forbidden is None else _only(~problem.forbidden, flow)
    return Answer(flow.rows, flow.columns, flow.amounts, of_a * unit, of_b * unit, price * unit + low, flow.limited)


def _transport(
    network: Network, problem: Programme, warm: tuple[Array, Array] | None, max_iter: int, index: int
) -> tuple[Flow, float]:
    """Give the flow, and what part of the mass is on forbidden pairs."""
    flow = transport_by_shortlist(network, warm, problem.mass, max_iter, index)
    lost = 0.0 if problem.forbidden is None else _only(problem.forbidden, flow).amounts.sum() / problem.mass
    return flow, float(lost)


def _only(wanted: NDArray[np.bool_], flow: Flow) -> Flow:
    among = wanted[flow.rows, flow.columns]
    return flow._replace(rows=flow.rows[among], columns=flow.columns[among], amounts=flow.amounts[among])


def _spare(weights: Array, mass: float, dummy: float) -> float:
    """Give what a side keeps, its dummy's weight after capping; 0 where there was no dummy or only rounding is left."""
    spare = weights.sum() - mass
    return float(spare) if dummy > 0 and spare > 8 * np.finfo(float).eps * weights.sum() else 0.0


def _warm_start(start: tuple[Array, Array], affine: tuple[float, float]) -> tuple[Array, Array]:
    low, unit = affine
    (f, f_dummy), (g, g_dummy) = ((side[:-1], side[-1]) for side in start)
    return np.append(f - low, f_dummy) / unit, np.append(g, g_dummy + low) / unit


def _derivatives(flow: Flow, size: tuple[int, int]) -> tuple[Array, Array, float]:
    """Turn dual solutions into dV/da, dV/db and dV/dM; a missing dummy gets the highest potential the dual allows."""
    (n, m), u, v = size, flow.u, flow.v
    u_dummy = u[n] if len(u) > n else -v[:m].max()
    v_dummy = v[m] if len(v) > m else -u[:n].max()
    return u[:n] + v_dummy, v[:m] + u_dummy, -float(u_dummy + v_dummy)


def _uncap(derivative: Array, capped: NDArray[np.bool_], price: float) -> float:
    """Move what the cap P_i ≤ M charges to the price of mass, which it merely repeats."""
    charge = min(0.0, derivative[capped].min(initial=0.0))
    derivative[capped] = 0.0
    return price + charge


def _check_optimal(network: Network, flow: Flow, dual: tuple[Array, Array, float], mass: float, index: int) -> None:
    """Weak duality makes any feasible pair of equal value optimal, whoever found it."""
    sources, targets, price = dual
    primal = float(network.cost[flow.rows, flow.columns] @ flow.amounts)
    value = float(sources @ network.a + targets @ network.b + price * mass)
    gap = max(abs(primal - value) / mass, _excess(network.cost, sources + price, targets))
    if gap > _ROUNDING + network.tolerance:
        raise SolverError(
            "The plan and the dual solution of the network simplex must agree. "
            f"Found them {gap:.3g} cost ranges apart in problem {index}. Report it, or solve it with `reg` set."
        )


def _excess(cost: Array, sources: Array, targets: Array) -> float:
    """Give how far the potentials of some pair are above its price."""
    n, m = cost.shape
    step = max(1, _BLOCK // m)
    return max(
        float((sources[begin : begin + step, None] + targets - cost[begin : begin + step]).max())
        for begin in range(0, n, step)
    )
