"""Time the capped formulation on the CPU beside POT's, in one process, in turns, to the same distance of the optimum.

Both solve min ⟨C,P⟩ + reg · Σ P (log P − 1) under P1 ≤ a, Pᵀ1 ≤ b and 1ᵀP1 = mass. POT runs the fewest iterations that
come near enough, found beforehand and not timed, without a test of its own: to its advantage.

    python benchmarks/bench_formulations.py
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial

from comparison import optimum
from judging import distance, find_fewest
from peers import own, pot
from record import arguments, keep
from timing import take_turns
from torch import Tensor
from workload import Workload, machine

MOST = 5000
"""Iterations of POT that are tried."""


def compare(workload: Workload, rounds: int) -> dict[str, dict[str, float]]:
    """Medians and quartiles of the time each takes for the batch, in milliseconds, with what it reached."""
    cost = workload.cost().double()
    best = optimum(cost, workload, capped=True)

    def near(plan: Tensor) -> bool:
        return distance(plan, best, workload) <= workload.error

    theirs, in_logarithms = pot.capped(cost, workload), pot.capped(cost, workload, "sinkhorn_log")
    count = find_fewest(lambda iterations: near(theirs(iterations)), 8, MOST) or MOST
    tol = workload.error
    while not near((ours := own.solve(cost, workload, "capped", tol))(MOST)):
        tol /= 2
    runs: dict[str, Callable[[], Tensor]] = {
        "partialot": partial(ours, MOST),
        "POT": partial(theirs, count),
        "POT, logarithms": partial(in_logarithms, count),
    }
    reached = {name: distance(run(), best, workload) for name, run in runs.items()}
    times = take_turns(runs, rounds, f"{workload.nodes} nodes")
    return {
        name: {
            **times[name],
            "times_ours": times[name]["median_ms"] / times["partialot"]["median_ms"],
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
