"""Time whole solves on the CPU: partialot and its peers, in one process, in turns.

Every solver must reach the same violation, measured here on the plan it returns; the peers' iterations that reach it
are found beforehand and not timed. A plan that is no answer is not timed: what is wrong with it is said.

    python benchmarks/bench_cpu.py
    python benchmarks/bench_cpu.py --workloads large --out benchmarks/results/cpu_large.json   # minutes
"""

from dataclasses import asdict
from functools import partial

from comparison import compare, show, title
from peers import Method, methods, ott
from record import arguments, keep
from workload import Workload, machine

WORKLOADS = {
    "partial": Workload(4, 900, 0.3, 0.05, 1e-3),
    "balanced": Workload(4, 900, None, 0.05, 1e-3),
    "many": Workload(256, 64, 0.5, 0.05, 1e-3),
    "large": Workload(4, 3600, 0.3, 0.05, 1e-3),
}
"""Two images' features at two resolutions, and many small problems."""


def offered(workload: Workload) -> dict[str, Method]:
    """All methods, with the other two ways of OTT to be fast."""
    found = dict(methods(workload))
    if ott.INSTALLED:
        found["OTT, log domain, Anderson 5"] = Method(partial(ott.sinkhorn, anderson=5))
        found["OTT, kernel domain, momentum 1.5"] = Method(partial(ott.sinkhorn, log_domain=False))
    return found


def main() -> None:
    """Compare, print tables and keep the figures."""
    parser = arguments(__doc__, "cpu", rounds=7)
    parser.add_argument(
        "--workloads", nargs="+", choices=list(WORKLOADS), default=["partial", "balanced", "many"], help="what to solve"
    )
    given = parser.parse_args()
    before, solves = machine(), []
    for workload in (WORKLOADS[name] for name in given.workloads):
        rows = compare(workload, offered(workload), given.rounds, {})
        solves.append({"workload": asdict(workload), "results": rows})
        show(title(workload), rows)
    keep(given.out, before, {"solves": solves})


if __name__ == "__main__":
    main()
