"""Exact programmes and the capped formulation beside POT's."""

from collections.abc import Iterator
from typing import Any

from pages.markdown import measured_on, number, table


def programmes(record: dict[str, Any]) -> Iterator[str]:
    """Exact linear programmes beside POT's."""
    nodes = max(int(name.split(", ")[-1]) for name in record["results"] if ", " in name)
    yield f"## Exact linear programmes, {nodes:,} nodes a side\n"
    yield f"`OMP_NUM_THREADS=1 {record['command']}`, M = {record['mass']}. " + measured_on(record["machine"])
    for name, results in record["results"].items():
        first = next(iter(results.values()))["median_ms"]
        rows = [
            [
                solver,
                *(number(row[key]) for key in ("median_ms", "low_ms", "high_ms")),
                f"{row['median_ms'] / first:.2f}",
            ]
            for solver, row in results.items()
        ]
        yield table([name, "ms, median", "least", "most", "over the first row"], rows)


def formulations(record: dict[str, Any]) -> Iterator[str]:
    """The capped formulation beside POT's."""
    yield "## The capped formulation\n"
    yield f"`{record['command']}`. " + measured_on(record["machine"])
    for run in record["runs"]:
        work = run["workload"]
        rows = [
            [name, *(number(row[key]) for key in ("median_ms", "times_ours", "distance"))]
            for name, row in run["results"].items()
        ]
        size = f"{work['batch']} × {work['nodes']}², M = {work['mass']}, reg = {work['reg']}"
        yield table([size, "ms, median", "times ours", "distance from the optimal plan"], rows)


def gap(record: dict[str, Any]) -> Iterator[str]:
    """To a certified gap, beside the network simplex."""
    yield "## To a certified gap\n"
    cases = record["results"].values()
    faster = sum(case["ExactLP"]["seconds"] < case["AnnealedLP, 1e-03"]["seconds"] for case in cases)
    yield (
        "`solve(cost, mass=M, solver=AnnealedLP(tol_gap=1e-3))` stops when a feasible plan and feasible potentials are "
        f"within 1e-3 of the value of each other. `OMP_NUM_THREADS=1 {record['command']}` puts it beside `ExactLP` and "
        f"POT (`benchmarks/results/gap.json`): in {faster} of {len(cases)} cases the network simplex over a shortlist "
        "of pairs, which is what `ExactLP` runs, was faster, and it is exact. Seconds:\n"
    )
    names = ["POT", "ExactLP", "AnnealedLP, 1e-02", "AnnealedLP, 1e-03", "AnnealedLP, 1e-04"]
    rows = [[title, *(number(case[name]["seconds"]) for name in names)] for title, case in record["results"].items()]
    yield table(["", *names], rows)
    yield f"Measured on: {measured_on(record['machine'])}"
