"""Second opinions: optima computed without partialot, by other people's solvers or by counting."""

from dataclasses import dataclass
from itertools import combinations, permutations
from math import fsum

import numpy as np
import numpy.typing as npt
import ot
from scipy.optimize import linprog
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow
from scipy.special import logsumexp

Array = npt.NDArray[np.float64]

HIGHS_TOLERANCE = 1e-10
"""The tightest that HiGHS takes; absolute, hence the scaling of every programme below."""


class InfeasibleError(Exception):
    """No plan moves the mass along allowed pairs."""


@dataclass(frozen=True)
class Optimum:
    """What an oracle found: the plan (n, m) and its price."""

    plan: Array
    value: float


@dataclass(frozen=True)
class EntropicOptimum:
    """Optimum of the dummy-node problem with entropy: real block of the plan, objective, its parts."""

    plan: Array
    value: float
    value_linear: float
    divergence: float


def price(cost: Array, plan: Array) -> float:
    """⟨C, P⟩ with every product of the sum kept (forbidden pairs carry nothing and cost nothing)."""
    used = plan > 0
    return fsum((cost[used] * plan[used]).tolist())


def _scaled(cost: Array) -> Array:
    """Costs shifted and stretched to [0, 1]; the optimal plans stay the same because the mass is fixed."""
    finite = np.isfinite(cost)
    if not finite.any():
        return np.where(finite, 0.0, np.inf)
    low, high = cost[finite].min(), cost[finite].max()
    return np.where(finite, (cost - low) / (high - low if high > low else 1.0), np.inf)


def _incidence(n: int, m: int) -> tuple[Array, Array]:
    """The matrices that take a flattened plan to its row sums and its column sums."""
    return np.repeat(np.eye(n), m, axis=1), np.tile(np.eye(m), n)


def solve_by_highs(cost: Array, a: Array, b: Array, mass: float | None = None) -> Optimum:
    """The linear programme on its inequality form, without dummies, by SciPy's HiGHS.

    In units of the mass that moves, with weights capped at it: no node can use more.
    """
    n, m = cost.shape
    moved = float(a.sum()) if mass is None else mass
    if moved == 0.0:
        return Optimum(np.zeros((n, m)), 0.0)
    rows, columns = _incidence(n, m)
    scaled = _scaled(cost).ravel()
    totals = np.concatenate([np.minimum(a / moved, 1.0), np.minimum(b / moved, 1.0)])
    marginals = np.concatenate([rows, columns])
    balanced = mass is None
    result = linprog(
        np.where(np.isfinite(scaled), scaled, 0.0),
        A_ub=None if balanced else marginals,
        b_ub=None if balanced else totals,
        A_eq=marginals if balanced else np.ones((1, n * m)),
        b_eq=totals if balanced else np.ones(1),
        bounds=[(0.0, None if allowed else 0.0) for allowed in np.isfinite(scaled)],
        method="highs-ds",
        options={
            "primal_feasibility_tolerance": HIGHS_TOLERANCE,
            "dual_feasibility_tolerance": HIGHS_TOLERANCE,
        },
    )
    if result.status == 2:
        raise InfeasibleError(result.message)
    assert result.status == 0, result.message
    plan = moved * np.maximum(result.x.reshape(n, m), 0.0)
    return Optimum(plan, price(cost, plan))


def largest_mass(cost: Array, a: Array, b: Array) -> int:
    """The most that allowed pairs can carry between whole weights: a maximum flow, exact."""
    n, m = cost.shape
    source, sink = n + m, n + m + 1
    capacity = np.zeros((n + m + 2, n + m + 2), dtype=np.int32)
    capacity[source, :n], capacity[n : n + m, sink] = a, b
    capacity[:n, n : n + m] = np.where(np.isfinite(cost), np.minimum.outer(a, b), 0)
    return int(maximum_flow(csr_array(capacity), source, sink).flow_value)


def solve_by_pot(cost: Array, a: Array, b: Array, mass: float | None = None) -> Optimum:
    """The linear programme on the bordered problem, by POT's network simplex.

    Its tolerances are absolute, so costs are scaled to [0, 1] and weights to total 1. A corner above 0 is enough once
    no cost is negative; a forbidden pair must be dearer than any detour, which crosses each node once.
    """
    n, m = cost.shape
    forbidden = 4.0 * (n + m + 2)
    moved = float(a.sum()) if mass is None else mass
    if moved == 0.0:
        return Optimum(np.zeros((n, m)), 0.0)
    scaled = np.where(np.isfinite(cost), _scaled(cost), forbidden)
    if mass is not None:
        # No node can use more than what moves, and a surplus a billion times the mass would drown it.
        a, b = np.minimum(a, mass), np.minimum(b, mass)
        scaled = np.pad(scaled, ((0, 1), (0, 1)))
        scaled[-1, -1] = 2.0
        a, b = np.append(a, max(b.sum() - mass, 0.0)), np.append(b, max(a.sum() - mass, 0.0))
    total = a.sum()
    plan, log = ot.emd(a / total, b / b.sum(), np.ascontiguousarray(scaled), numItermax=10**7, log=True)
    assert log["warning"] is None, log["warning"]
    plan = total * np.asarray(plan)[:n, :m]
    if (plan[~np.isfinite(cost)] > 1e-12 * moved).any():
        raise InfeasibleError("the cheapest plan crosses a forbidden pair")
    allowed = np.where(np.isfinite(cost), plan, 0.0)
    return Optimum(allowed, price(cost, allowed))


def cheapest_matching(cost: Array, size: int) -> float:
    """Least price of `size` disjoint pairs, by looking at all of them: exact whatever the range of the costs.

    With weights of 1 and a whole mass the linear programme has such an optimum (its matrix is totally unimodular).
    """
    n, m = cost.shape
    return min(
        fsum(cost[i, j] for i, j in zip(sources, targets, strict=True))
        for sources in combinations(range(n), size)
        for targets in permutations(range(m), size)
    )


def solve_entropic(cost: Array, a: Array, b: Array, mass: float | None, reg: float) -> EntropicOptimum:
    """The dummy-node problem with entropy, materialised and solved by annealed, damped Newton steps on the dual.

    Minimises ⟨C̃,P̃⟩ + reg·KL(P̃ ‖ Ã⊗B̃/T) over P̃ ≥ 0 with marginals Ã, B̃ and an empty corner.
    """
    n, m = cost.shape
    moved = float(a.sum()) if mass is None else mass
    left_a, left_b = a.sum() - moved, b.sum() - moved
    bordered = np.pad(cost, ((0, 1), (0, 1)))
    bordered[-1, -1] = np.inf
    row_weights = np.append(a, 0.0 if mass is None else left_b)
    column_weights = np.append(b, 0.0 if mass is None else left_a)
    rows, columns = np.flatnonzero(row_weights > 0), np.flatnonzero(column_weights > 0)
    plan = np.zeros((n + 1, m + 1))
    inner = np.ix_(rows, columns)
    row_weights, column_weights = row_weights[rows], column_weights[columns]
    reference = np.log(row_weights)[:, None] + np.log(column_weights) - np.log(row_weights.sum())
    plan[inner] = _solve_dual(bordered[inner], reference, row_weights, column_weights, reg, moved)
    used = plan[inner] > 0
    linear = price(bordered, plan)
    divergence = fsum((plan[inner][used] * (np.log(plan[inner][used]) - reference[used])).tolist())
    return EntropicOptimum(plan[:n, :m], linear + reg * divergence, linear, divergence)


def _solve_dual(cost: Array, reference: Array, a: Array, b: Array, reg: float, moved: float) -> Array:
    """Coupling exp(reference + (f + g − C)/reg) of a and b."""
    spread = np.ptp(cost[np.isfinite(cost)])
    f, g = np.zeros_like(a), np.zeros_like(b)
    stages = max(1, int(np.ceil(np.log2(max(spread / reg, 1.0)))) + 1)
    for stage in reversed(range(stages)):
        kernel = reference - cost / (reg * 2.0**stage)
        # Potentials in units of the temperature double when it is halved.
        f, g = 2.0 * f, 2.0 * g
        for _ in range(5):
            f = np.log(a) - logsumexp(kernel + g, axis=1)
            g = np.log(b) - logsumexp(kernel + f[:, None], axis=0)
        f, g = _newton(kernel, a, b, f, g, moved)
    plan = np.exp(reference - cost / reg + f[:, None] + g)
    error = max(np.abs(plan.sum(1) - a).max(), np.abs(plan.sum(0) - b).max())
    # Its exponents are differences of numbers as large as the costs over `reg`.
    rounding = 4 * np.finfo(a.dtype).eps * (1 + np.abs(cost[np.isfinite(cost)]).max() / reg) * a.sum()
    assert error <= 1e-11 * moved + rounding, f"the reference itself is off by {error / moved:.1e} of the mass"
    return plan


def _newton(kernel: Array, a: Array, b: Array, f: Array, g: Array, moved: float) -> tuple[Array, Array]:
    """Damped Newton on Σ exp(kernel + f + g) − ⟨a, f⟩ − ⟨b, g⟩, in units where the temperature is 1."""
    n = len(a)
    for _ in range(200):
        plan = np.exp(kernel + f[:, None] + g)
        residual = np.concatenate([plan.sum(1) - a, plan.sum(0) - b])
        if np.abs(residual).max() <= 1e-14 * moved:
            break
        hessian = np.block([[np.diag(plan.sum(1)), plan], [plan.T, np.diag(plan.sum(0))]])
        # Scaled to a unit diagonal: weights of very different size would otherwise fall below lstsq's cut.
        scale = 1.0 / np.sqrt(np.diag(hessian))
        step = -scale * np.linalg.lstsq(hessian * np.outer(scale, scale), residual * scale, rcond=1e-15)[0]
        length = min(1.0, 1.0 / max(np.abs(step).max(), 1e-300))
        f, g = f + length * step[:n], g + length * step[n:]
    return f, g
