"""Time exact transport on the CPU: partialot and POT's network simplex, in one process, in turns.

Both solve the same problems to the same optimum, which is checked. Times of partialot are those of `solve`, checks of
its input and proof of its answer included; POT's are those of `ot.emd` alone, on a matrix that is bordered beforehand.
Runs are interleaved so that a busy machine slows all alike.

    OMP_NUM_THREADS=1 python benchmarks/bench_exact.py
"""

import math
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import ot
import torch
from numpy.typing import NDArray
from record import arguments, keep
from torch import Tensor
from tqdm import tqdm
from workload import machine

import partialot

Array = NDArray[np.float64]
Run = Callable[[], float]
"""Solves and returns the optimal value."""

MASS = 0.5
"""Half of each side's total of 1."""

BATCHES = ((256, 64), (8, 500))
"""How many problems of how many nodes a side."""

ENTROPIC = 1000
"""Most nodes for which POT is also started from entropic potentials: at 3000 that takes more than a minute."""

FAMILIES = ("points", "features", "far clouds", "uneven weights")


def draw(family: str, nodes: int) -> tuple[Array, Array, Array]:
    """Costs over their range and weights of total 1, the same every time.

    Args:
        family: "points": squared distances of uniform points in the square. "features": cosine costs between clusters,
            as matching images gives them. "far clouds": as points, five sides apart, so that the cheapest pairs are
            the wrong ones. "uneven weights": as points, with targets that weigh from 1 to 1000.
        nodes: On each side.
    """
    generator = np.random.default_rng(0)
    weights = np.full(nodes, 1.0 / nodes)
    if family == "features":
        centres = generator.standard_normal((12, 64))
        x, y = (centres[generator.integers(0, 12, nodes)] + 0.7 * generator.standard_normal((nodes, 64)) for _ in "xy")
        x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (x, y))
        cost = 1.0 - x @ y.T
    else:
        x, y = generator.random((nodes, 2)), generator.random((nodes, 2)) + (5.0 if family == "far clouds" else 0.0)
        cost = ((x[:, None] - y) ** 2).sum(-1)
    uneven = generator.random(nodes) ** 3 + 1e-3
    return (cost - cost.min()) / np.ptp(cost), weights, uneven / uneven.sum() if family == "uneven weights" else weights


def border(cost: Array, a: Array, b: Array, copies: int) -> tuple[Array, Array, Array]:
    """The partial problem as a balanced one, the weight of each dummy dealt out to copies."""
    bordered = np.pad(cost, ((0, copies), (0, copies)))
    # No cost is below 0, so any price keeps the dummies' pair empty.
    bordered[len(a) :, len(b) :] = 2.0
    dummies = np.full(copies, (1.0 - MASS) / copies)
    return bordered, np.append(a, dummies), np.append(b, dummies)


def pot(cost: Array, a: Array, b: Array, start: Callable[[], tuple[Array, Array] | None] = lambda: None) -> Run:
    """POT's network simplex; what finds the potentials to start from is timed with it."""
    total = a.sum()
    a, b = a / total, b / b.sum()

    def run() -> float:
        _, log = ot.emd(a, b, cost, numItermax=10**8, log=True, center_dual=False, potentials_init=start())
        return total * log["cost"]

    return run


def entropic_start(cost: Array, a: Array, b: Array) -> Callable[[], tuple[Array, Array]]:
    """Potentials of a float32 Sinkhorn at a thousandth of the range, as far as 500 sweeps bring it."""
    single = [torch.as_tensor(array, dtype=torch.float32) for array in (cost, a, b)]
    solver = partialot.Sinkhorn(max_iter=500, tol=1e-2)

    def start() -> tuple[Array, Array]:
        f, g = partialot.solve(*single, mass=MASS, reg=1e-3, solver=solver).duals
        return f.double().numpy(), g.double().numpy()

    return start


def ours(cost: Array, a: Array, b: Array, mass: float | None) -> Run:
    """`partialot.solve` without a regularisation."""
    given = [torch.as_tensor(array) for array in (cost, a, b)]
    return lambda: partialot.solve(*given, mass=mass).value.item()


def in_turns(runs: dict[str, Run], rounds: int, title: str) -> dict[str, dict[str, float]]:
    """Median, best and worst time of each, in milliseconds, and the value it found."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    values: dict[str, float] = {}
    for _ in tqdm(range(rounds), desc=title):
        for name, run in runs.items():
            begin = time.perf_counter()
            values[name] = run()
            times[name].append(1e3 * (time.perf_counter() - begin))
    return {
        name: {"median_ms": statistics.median(one), "low_ms": min(one), "high_ms": max(one), "value": values[name]}
        for name, one in times.items()
    }


def compare(family: str, nodes: int, rounds: int) -> dict[str, dict[str, float]]:
    """Time one large problem, balanced and partial."""
    cost, a, b = draw(family, nodes)
    copies = min(1 + nodes // 20, 1 + math.isqrt(3 * nodes))
    one = border(cost, a, b, 1)
    runs = {
        "POT balanced": pot(cost, a, b),
        "POT partial, one dummy": pot(*one),
        f"POT partial, {copies} copies": pot(*border(cost, a, b, copies)),
        "partialot balanced": ours(cost, a, b, None),
        "partialot partial": ours(cost, a, b, MASS),
    }
    if nodes <= ENTROPIC:
        runs["POT partial, one dummy, entropic start"] = pot(*one, entropic_start(cost, a, b))
    rows = in_turns(runs, rounds, f"{family}, {nodes} nodes")
    for kind in (" balanced", " partial"):
        values = [row["value"] for name, row in rows.items() if kind in name]
        if max(values) - min(values) > 1e-9 * max(values):
            raise RuntimeError(f"All must find the same optimum. Found {values} for {family}. Look into it.")
    return rows


def drawn_batch(count: int, nodes: int) -> Tensor:
    """Uniform costs in [0, 1], the same every time."""
    return torch.rand(count, nodes, nodes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def solve_batch(cost: Tensor, workers: int) -> float:
    """Solve with so many threads; return the sum of the values."""
    return partialot.solve(cost, mass=MASS, solver=partialot.ExactLP(workers=workers)).value.sum().item()


def solve_alone(cost: Tensor) -> float:
    """What a process does with its part of a batch."""
    return solve_batch(cost, 1)


def compare_batch(count: int, nodes: int, rounds: int) -> dict[str, dict[str, float]]:
    """Time a batch of problems: a loop over POT, threads, and processes that are already running."""
    cost, weights = drawn_batch(count, nodes), np.full(nodes, 1.0 / nodes)
    loop = [pot(*border(one, weights, weights, 1)) for one in cost.numpy()]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(solve_alone, cost[:2, None]))
        runs: dict[str, Run] = {
            "POT, one after the other": lambda: sum(run() for run in loop),
            "partialot, 1 thread": lambda: solve_batch(cost, 1),
            "partialot, 2 threads": lambda: solve_batch(cost, 2),
            "partialot, 2 processes": lambda: sum(pool.map(solve_alone, cost.chunk(2))),
        }
        return in_turns(runs, rounds, f"{count} problems of {nodes} nodes")


def show(title: str, rows: dict[str, dict[str, float]]) -> None:
    """Print a table: times, and how many times the first row's each is."""
    print(title)
    first = next(iter(rows.values()))["median_ms"]
    for name, row in rows.items():
        print(f"  {name:<42}{row['median_ms']:>10.1f} ms{row['median_ms'] / first:>8.2f}")


def main() -> None:
    """Compare, print tables and keep the figures."""
    parser = arguments(__doc__, "exact", rounds=3)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1000], help="3000 take minutes each")
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=FAMILIES)
    given = parser.parse_args()
    before, results = machine(), {}
    for count, nodes in BATCHES:
        results[f"{count} x {nodes}"] = compare_batch(count, nodes, 3 * given.rounds)
    for nodes in given.nodes:
        for family in given.families:
            results[f"{family}, {nodes}"] = compare(family, nodes, given.rounds)
    for title, rows in results.items():
        show(title, rows)
    keep(given.out, before, {"mass": MASS, "results": results})


if __name__ == "__main__":
    main()
