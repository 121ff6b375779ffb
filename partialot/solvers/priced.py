"""The exact programme where mass has a price: min ⟨C − price, P⟩ under P1 ≤ a and Pᵀ1 ≤ b.

Pairs dearer than the price are never used. With c = C − price in units of the largest gain, the programme is balanced
transport between (a, Σb) and (b, Σa) at the prices 1 + c_ij, 1 for what sources keep, and 0 for what targets lack and
for the pair of the dummies, which is allowed: nothing below 0, as the simplex needs it. Pairs that do not pay are
taken to cost as much as keeping, 1, and what goes over them is kept.
"""

import numpy as np

from partialot.solvers.network_simplex import Array, Indices, pivot
from partialot.solvers.programme import Programme

Found = tuple[Indices, Indices, Array, Array, Array, bool]
"""The pairs that carry mass and how much, potentials with the dummies' last, and whether pivots ran out."""


def solve_priced(problem: Programme, start: tuple[Array, Array] | None, max_iter: int, index: int) -> Found:
    """Solve one problem; potentials are in the gauge where both dummies' are 0.

    Args:
        problem: Its `cost` is C less the price; `inf` = forbidden. Its `mass` plays no part.
        start: Potentials to start from, the dummies' last.
        max_iter: Most pivots.
        index: The problem's number in its batch, for messages.
    """
    rows, columns = (np.flatnonzero(side[:-1] > 0) for side in (problem.a, problem.b))
    f, g = np.zeros_like(problem.a), np.zeros_like(problem.b)
    cost = problem.cost[np.ix_(rows, columns)]
    gain = -cost.min(initial=np.inf)
    nothing = np.zeros(0, dtype=np.intp)
    if not gain > 0:
        return nothing, nothing, np.zeros(0), f, g, False
    (n, m), a, b = cost.shape, problem.a[rows], problem.b[columns]
    prices = np.zeros((n + 1, m + 1))
    prices[:n, :m] = np.minimum(1 + cost / gain, 1.0)
    prices[:n, m] = 1.0
    warm = None
    if start is not None:
        (sources, targets), (dummy_f, dummy_g) = (side[:-1] for side in start), (side[-1] for side in start)
        warm = np.append((sources[rows] + dummy_g) / gain + 1, 0.0), np.append((targets[columns] + dummy_f) / gain, 0.0)
    plan, u, v, limited = pivot(np.append(a, b.sum()), np.append(b, a.sum()), prices, warm, max_iter, index)
    f[rows] = np.minimum(u[:n] + v[m] - 1, 0.0) * gain
    g[columns] = np.minimum(v[:m] + u[n], 0.0) * gain
    f[:-1][problem.a[:-1] <= 0] = _largest(problem.cost[problem.a[:-1] <= 0][:, columns] - g[columns])
    g[:-1][problem.b[:-1] <= 0] = _largest(problem.cost[rows][:, problem.b[:-1] <= 0].T - f[rows])
    used = np.nonzero((plan[:n, :m] > 0) & (prices[:n, :m] < 1))
    return rows[used[0]], columns[used[1]], plan[:n, :m][used], f, g, limited


def _largest(reduced: Array) -> Array:
    """Give nodes of weight 0 the largest potential the dual allows."""
    return reduced.min(axis=1, initial=0.0)
