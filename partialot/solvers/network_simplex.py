"""POT's network simplex on one network, behind guards.

POT 0.9.7 prices with an absolute tolerance and compares totals to six decimals, so costs far from 1 give plans several
times too dear and weights far from 1 give none, with a warning at most. Costs come here in [0, 1], weights leave with
total 1, and no answer that came with a warning is believed.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from partialot.errors import SolverError

if TYPE_CHECKING:
    from scipy.sparse import coo_array  # pyright: ignore[reportMissingTypeStubs]

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

CORNER = 2.0
"""Price of the dummies' pair. As no price is below 0, moving more than the mass never pays, and any price is enough."""


@dataclass(frozen=True)
class Network:
    """One problem ready for the simplex.

    Attributes:
        cost: Prices (n, m) of the real pairs, in [0, 1] but for forbidden ones.
        a: What each source can send, above 0.
        b: What each target can take.
        kept: What the sources keep in all, the dummy target's weight; 0 = no such dummy.
        lacking: What the targets lack in all, the dummy source's weight.
        dearest: The largest price, at least 1.
    """

    cost: Array
    a: Array
    b: Array
    kept: float
    lacking: float
    dearest: float

    @property
    def tolerance(self) -> float:
        """How far below 0 POT leaves a reduced price: its potentials hang from artificial arcs dearer than any path."""
        return 10 * np.finfo(float).eps * (max(self.dearest, CORNER) + 1.0) * (sum(self.cost.shape) + 2)


class Flow(NamedTuple):
    """The pairs of the real block that carry mass, how much, and potentials, dummies last where there are any."""

    rows: Indices
    columns: Indices
    amounts: Array
    u: Array
    v: Array
    limited: bool


def transport(network: Network, start: tuple[Array, Array] | None, max_iter: int, index: int) -> Flow:
    """Solve over all pairs.

    One dummy node of large degree stalls the simplex, so its weight is dealt out to copies. With half the mass at
    n = 1000, 51 copies take less than half the time that one takes; at 3000, 95 take about an eighth
    (`benchmarks/bench_exact.py`).

    Args:
        network: What to solve.
        start: Potentials to start from, one dummy's last on each side.
        max_iter: Most pivots.
        index: The problem's number in its batch, for messages.
    """
    (n, m), longest = network.cost.shape, max(network.cost.shape)
    copies = min(1 + longest // 20, 1 + math.isqrt(3 * longest))
    extra_a, extra_b = copies * (network.lacking > 0), copies * (network.kept > 0)
    cost = network.cost
    if extra_a or extra_b:
        cost = np.zeros((n + extra_a, m + extra_b))
        cost[:n, :m] = network.cost
        cost[n:, m:] = CORNER
    warm = (
        None
        if start is None
        else (split(start[0][:-1], start[0][-1], extra_a), split(start[1][:-1], start[1][-1], extra_b))
    )
    flow, u, v, limited = pivot(*weights(network, extra_a, extra_b), cost, warm, max_iter, index)
    rows, columns = np.divmod(np.flatnonzero(flow), m + extra_b)
    return only_real(network, (rows, columns, flow[rows, columns]), (u, v), limited)


def weights(network: Network, extra_a: int, extra_b: int) -> tuple[Array, Array]:
    """Give what each node sends and takes, the dummies' weights dealt out to so many copies."""
    return (
        split(network.a, network.lacking / max(extra_a, 1), extra_a),
        split(network.b, network.kept / max(extra_b, 1), extra_b),
    )


def split(real: Array, dummy: float, copies: int) -> Array:
    """Append copies of a dummy's entry."""
    return np.append(real, np.full(copies, dummy))


def only_real(
    network: Network, flow: tuple[Indices, Indices, Array], duals: tuple[Array, Array], limited: bool
) -> Flow:
    """Drop what dummies carry, and the potentials of all but the first copy: the copies agree."""
    (n, m), (rows, columns, amounts), (u, v) = network.cost.shape, flow, duals
    real = (rows < n) & (columns < m)
    return Flow(rows[real], columns[real], amounts[real], u[: n + 1], v[: m + 1], limited)


def pivot(
    source: Array, target: Array, cost: "Array | coo_array", warm: tuple[Array, Array] | None, max_iter: int, index: int
) -> tuple[Any, Array, Array, bool]:
    """Call POT with totals of 1; pairs that a sparse `cost` leaves out do not exist.

    Raises:
        SolverError: POT ended in a way that no problem of ours should lead to.
    """
    # Not for those who solve with `reg`: importing POT takes long (`benchmarks/bench_import.py` says how long).
    import ot  # pyright: ignore[reportMissingTypeStubs]

    total = source.sum()
    flow, log = cast(
        "tuple[Any, dict[str, Any]]",
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
