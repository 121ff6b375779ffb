"""Time the capped formulation on the CPU beside POT's, in one process, in turns, to the same distance of the optimum.

Both solve min ⟨C,P⟩ + reg · Σ P (log P − 1) under P1 ≤ a, Pᵀ1 ≤ b and 1ᵀP1 = mass. POT runs the fewest iterations that
come near enough, found beforehand and not timed, without a test of its own: to its advantage.

    python benchmarks/bench_formulations.py
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import ot
import torch
from record import arguments, keep
from torch import Tensor
from tqdm import tqdm
from workload import Workload, machine

import partialot


def pot_capped(cost: Tensor, workload: Workload, method: str, iterations: int) -> Tensor:
    """POT's plans, one problem after the other."""
    weights = np.full(workload.nodes, 1.0 / workload.nodes)
    options = {"m": workload.mass, "numItermax": iterations, "stopThr": 0.0, "method": method}
    partial = ot.partial.entropic_partial_wasserstein
    return torch.stack(
        [torch.as_tensor(partial(weights, weights, one, workload.reg, **options)) for one in cost.numpy()]
    )


def ours(cost: Tensor, workload: Workload, tol: float) -> Tensor:
    """partialot, which stops by itself; its tests are timed."""
    solver = partialot.Sinkhorn(tol=tol)
    return partialot.solve(cost, mass=workload.mass, reg=workload.reg, formulation="capped", solver=solver).plan


def distance(plan: Tensor, optimum: Tensor, workload: Workload) -> float:
    """Largest sum of absolute differences from the optimal plan, over the mass."""
    return float((plan - optimum).abs().sum((-2, -1)).max()) / workload.mass


def compare(workload: Workload, rounds: int) -> dict[str, dict[str, float]]:
    """Medians of the time each takes for the batch, in milliseconds, with what it reached."""
    cost = workload.cost().double()
    optimum = ours(cost, workload, 1e-13)
    count = 4
    while distance(pot_capped(cost, workload, "sinkhorn", count), optimum, workload) > workload.error:
        count += max(1, count // 5)
    tol = workload.error
    while distance(ours(cost, workload, tol), optimum, workload) > workload.error:
        tol /= 2
    runs: dict[str, Callable[[], Tensor]] = {
        "partialot": lambda: ours(cost, workload, tol),
        "POT": lambda: pot_capped(cost, workload, "sinkhorn", count),
        "POT, logarithms": lambda: pot_capped(cost, workload, "sinkhorn_log", count),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    reached = {name: distance(run(), optimum, workload) for name, run in runs.items()}
    for _ in tqdm(range(rounds), desc=f"{workload.nodes} nodes"):
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - begin))
    least = statistics.median(times["partialot"])
    return {
        name: {
            "median_ms": statistics.median(times[name]),
            "times_ours": statistics.median(times[name]) / least,
            "distance": reached[name],
            **({"iterations": count} if name != "partialot" else {}),
        }
        for name in runs
    }


def main() -> None:
    """Compare, print a table and keep the figures."""
    parser = arguments(__doc__, "formulations", rounds=3)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--nodes", type=int, nargs="+", default=[400, 900])
    parser.add_argument("--mass", type=float, default=0.6)
    parser.add_argument("--reg", type=float, default=0.03)
    parser.add_argument(
        "--error", type=float, default=1e-6, help="distance from the optimal plan, relative to the mass"
    )
    given = parser.parse_args()
    before, records = machine(), []
    for nodes in given.nodes:
        workload = Workload(given.batch, nodes, given.mass, given.reg, given.error)
        rows = compare(workload, given.rounds)
        records.append({"workload": asdict(workload), "results": rows})
        for name, row in rows.items():
            print(nodes, name, *(f"{key} {value:.4g}" for key, value in row.items()))
    keep(given.out, before, {"runs": records})


if __name__ == "__main__":
    main()
