"""The network simplex on the pairs that matter: a shortlist, priced against all pairs until none is missing.

An optimum over some of the pairs whose potentials overcharge no other pair is an optimum over all (column generation;
for transport: Gottschlich and Schuhmacher 2014, the shortlist method). Pivots over 32 pairs a node cost a small part of
those over all, and one look at the matrix proves the answer. Where the cheapest pairs are the wrong ones, as between
clouds far apart, the potentials of a sample of the nodes tell which are cheap for both ends.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from partialot.solvers.network_simplex import Array, Flow, Indices, Network, only_real, pivot, transport, weights

_CANDIDATES = 32
"""Cheapest pairs of each node to start with; 16 measures a little slower, 48 too."""

_COPIES = 8
"""Copies of each dummy: over a shortlist, its arcs would outnumber the others; 5 to 20 measure alike."""

_STRAGGLERS = 4
"""Most missing pairs, for each node, that all enter the next round: of more, the worst of each node."""

_HOPELESS = 0.1
"""Part of all pairs that may be missing. Where the cheapest pairs say little, the first round leaves out 14 to 80 %,
elsewhere below 8 %."""

_SAMPLE = 4
"""One node in so many goes into the sample."""

_DROPPED = 1e-12
"""Part of the mass that may be missing, which POT leaves out of sparse plans; 2e-13 was seen at 3000 nodes."""

_ROUNDS = 10
"""Few need more than five: then something stalls."""

_BLOCK = 1 << 17
"""Entries priced at a time: they stay in cache."""


def transport_by_shortlist(
    network: Network, start: tuple[Array, Array] | None, mass: float, max_iter: int, index: int
) -> Flow:
    """Solve over a shortlist that grows by what it lacks, or over all pairs where that is quicker.

    Args:
        network: What to solve.
        start: Potentials to start from, one dummy's last on each side.
        mass: What the real block has to carry.
        max_iter: Most pivots of a round.
        index: The problem's number in its batch, for messages.
    """
    (n, m), partial = network.cost.shape, network.kept > 0 or network.lacking > 0
    # The shortlist must be small beside the matrix. Dummies slow the search over all pairs, so it pays earlier there.
    if (4 if partial else 10) * _CANDIDATES * (n + m) > n * m:
        return transport(network, start, max_iter, index)
    flow = None
    if start is None:
        flow = _grow(network, _cheapest(network.cost), mass, max_iter, index)
        if flow is None:
            start = _extend_sample(network, mass, max_iter, index)
    if flow is None and start is not None:
        flow = _grow(network, _cheapest(_reduced(network, *start)), mass, max_iter, index)
    return transport(network, None, max_iter, index) if flow is None else flow


def _grow(network: Network, chosen: NDArray[np.bool_], mass: float, max_iter: int, index: int) -> Flow | None:
    """Solve over the chosen pairs and add what is missing; None where that leads nowhere."""
    n, m = network.cost.shape
    chosen[_north_west(network)] = True
    for _ in range(_ROUNDS):
        flow = _transport_over(network, chosen, max_iter, index)
        if flow.limited:
            return flow
        missing = _overcharged(network, flow, chosen)
        if not len(missing):
            return flow if _carries(network, flow, mass) else None
        if len(missing) > _HOPELESS * n * m:
            return None
        if len(missing) > _STRAGGLERS * (n + m):
            reduced = _reduced(network, flow.u, flow.v)
            chosen |= _cheapest(reduced) & (reduced < -network.tolerance)
        else:
            chosen.reshape(-1)[missing] = True
    return None


def _extend_sample(network: Network, mass: float, max_iter: int, index: int) -> tuple[Array, Array]:
    """Solve for a sample of the nodes; give everyone the largest potential that those of the sample allow."""
    n, m = network.cost.shape
    rows, columns = _sample(n), _sample(m)
    sampled = Network(
        cost=network.cost[np.ix_(rows, columns)],
        a=network.a[rows] * (network.a.sum() / network.a[rows].sum()),
        b=network.b[columns] * (network.b.sum() / network.b[columns].sum()),
        kept=network.kept,
        lacking=network.lacking,
        dearest=network.dearest,
    )
    flow = transport_by_shortlist(sampled, None, mass, max_iter, index)
    of_dummies = flow.u[len(rows) :], flow.v[len(columns) :]
    f = (network.cost[:, columns] - flow.v[: len(columns)]).min(axis=1)
    f = np.minimum(f, -of_dummies[1].max(initial=-np.inf))
    g = np.minimum((network.cost - f[:, None]).min(axis=0), -of_dummies[0].max(initial=-np.inf))
    return np.append(f, 0.0), np.append(g, 0.0)


def _sample(count: int) -> Indices:
    """Take a node out of every few, at places that no regular order of the nodes agrees with."""
    groups = np.arange(count // _SAMPLE)
    return groups * _SAMPLE + (groups * 0.6180339887 % 1.0 * _SAMPLE).astype(np.intp)


def _reduced(network: Network, f: Array, g: Array) -> Array:
    n, m = network.cost.shape
    return network.cost - f[:n, None] - g[:m]


def _cheapest(cost: Array) -> NDArray[np.bool_]:
    prices, chosen = torch.from_numpy(cost), torch.zeros(cost.shape, dtype=torch.bool, device="cpu")  # pyright: ignore[reportUnknownMemberType]
    for side in (0, 1):
        cheapest = prices.topk(min(_CANDIDATES, prices.shape[side]), side, largest=False, sorted=False).indices
        chosen.scatter_(side, cheapest, True)
    return chosen.numpy()


def _north_west(network: Network) -> tuple[Indices, Indices]:
    """Give the pairs of a plan that always exists: sources in turn fill the dummy target, then the targets in turn."""
    ends_a, ends_b = np.cumsum(network.a), np.cumsum(np.append(network.kept, network.b))
    begins = np.append(0.0, np.sort(np.concatenate((ends_a[:-1], ends_b[:-1]))))
    rows = np.searchsorted(ends_a[:-1], begins, side="right")
    columns = np.searchsorted(ends_b[:-1], begins, side="right") - 1
    return rows[columns >= 0], columns[columns >= 0]


def _transport_over(network: Network, chosen: NDArray[np.bool_], max_iter: int, index: int) -> Flow:
    # With POT only, which imports it too: see `pivot`.
    from scipy.sparse import coo_array  # pyright: ignore[reportMissingTypeStubs]

    n, m = chosen.shape
    extra_a, extra_b = _COPIES * (network.lacking > 0), _COPIES * (network.kept > 0)
    rows, columns = np.divmod(np.flatnonzero(chosen), m)
    # Each dummy is allowed with every real node of the other side; the pair of the dummies does not exist.
    to_dummy, from_dummy = np.indices((n, extra_b)).reshape(2, -1), np.indices((extra_a, m)).reshape(2, -1)
    prices = np.concatenate((network.cost[rows, columns], np.zeros(to_dummy.shape[1] + from_dummy.shape[1])))
    pairs = (
        np.concatenate((rows, to_dummy[0], from_dummy[0] + n)),
        np.concatenate((columns, to_dummy[1] + m, from_dummy[1])),
    )
    network_cost = coo_array((prices, pairs), shape=(n + extra_a, m + extra_b))
    plan, u, v, limited = pivot(*weights(network, extra_a, extra_b), network_cost, None, max_iter, index)
    # POT 0.9.7 gives plans by rows, its later versions by pairs.
    plan = plan.tocoo()
    return only_real(network, (plan.row, plan.col, plan.data), (u, v), limited)


def _overcharged(network: Network, flow: Flow, chosen: NDArray[np.bool_]) -> Indices:
    """Give the pairs left out that are cheaper than their potentials say."""
    n, m = chosen.shape
    found: list[Indices] = []
    for begin in range(0, n, max(1, _BLOCK // m)):
        rows = slice(begin, begin + max(1, _BLOCK // m))
        reduced = network.cost[rows] - flow.u[:n][rows, None]
        reduced -= flow.v[:m]
        found.append(np.flatnonzero((reduced < -network.tolerance) & ~chosen[rows]) + begin * m)
    return np.concatenate(found)


def _carries(network: Network, flow: Flow, mass: float) -> bool:
    """Whether the plan moves the mass: POT drops what is below 1e-15 of the total from sparse plans."""
    sent = np.bincount(flow.rows, flow.amounts, len(network.a))
    taken = np.bincount(flow.columns, flow.amounts, len(network.b))
    excess = (sent - network.a).clip(min=0).sum() + (taken - network.b).clip(min=0).sum()
    return bool(abs(flow.amounts.sum() - mass) + excess <= _DROPPED * mass)
