"""Write docs/benchmarks.md and docs/accuracy.md from the figures in benchmarks/results: its tables are never typed.

python benchmarks/make_page.py
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parents[1] / "docs"

HEAD = """# Benchmarks

Written by `python benchmarks/make_page.py` from the JSON files in `benchmarks/results`, each of which names the
machine, the versions and the load it was measured under. Ratios within a table hold; absolute times are those of that
machine.
"""

ACCURACY = """# Accuracy

Written by `python benchmarks/make_page.py`; see `benchmarks/results/accuracy.json` for machine and versions.

Potentials are float64 whatever the type of the costs, and exponents f + g − C are formed without rounding: in float32
f and g are split into a part on a grid so coarse that sums of two are exact, and the rest. Errors of marginals do not
grow with the cost over `reg` therefore; what the costs themselves were rounded to remains. Every solution tells what
it reached (`marginal_error`), and `certificate()` brackets the value of the exact linear programme at any iterate.
"""


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def number(value: float | None, digits: int = 3) -> str:
    """A figure as one reads it; a dash for what a solver never reached, or what drowned in the noise of its set-up."""
    return "-" if value is None or value < 0 else f"{value:.{digits}g}" if abs(value) < 1000 else f"{value:,.0f}"


def measured_on(machine: dict[str, Any]) -> str:
    """The sentence below a heading."""
    versions = ", ".join(f"{name} {machine[name]}" for name in ("torch", "pot", "ott-jax", "jax") if name in machine)
    load = f"load {machine['load']:.1f} before" if "load" in machine else ""
    threads = f"{machine.get('threads', '?')} threads"
    return f"{machine.get('processor', '?')}, {machine.get('cores', '?')} cores, {threads}, {load}; {versions}.\n"


def sweeps(record: dict[str, Any]) -> Iterator[str]:
    """One full iteration beside the peers."""
    yield "## One full iteration\n"
    yield "`python benchmarks/bench_sweep.py`. " + measured_on(record["machine"])
    for one in record["tables"]:
        size = f"{one['workload']['batch']} × {one['workload']['nodes']}²"
        rows = [
            [
                name,
                number(row["median_ms"]),
                f"{number(row['low_ms'])}–{number(row['high_ms'])}",
                number(row["reads"], 2),
            ]
            for name, row in one["results"].items()
        ]
        yield table([f"{size}, float32, partial", "ms, median", "quartiles", "reads of the matrix"], rows)


def solves(record: dict[str, Any]) -> Iterator[str]:
    """Whole solves and gradients beside the peers."""
    yield "## Whole solves\n"
    yield "`python benchmarks/bench_cpu.py`. " + measured_on(record["machine"])
    for one in record["solves"]:
        work = one["workload"]
        size = f"{work['batch']} × {work['nodes']}², M = {work['mass']}, to {work['error']:g}"
        rows = [
            [name, *(number(row.get(key)) for key in ("iterations", "median_ms", "low_ms", "high_ms", "violation"))]
            for name, row in one["results"].items()
        ]
        yield table([size, "iterations", "ms, median", "lower quartile", "upper", "violation"], rows)
    yield "## Forward and backward of a function of the plan, 4 × 900²\n"
    rows = [
        [name, *(number(row[key]) for key in ("forward_ms", "backward_ms", "error"))]
        for name, row in record["gradients"].items()
    ]
    yield table(["", "forward, ms", "backward, ms", "relative error of the derivative"], rows)


def iterations(record: dict[str, Any]) -> Iterator[str]:
    """Sweeps over families of problems."""
    yield "## Sweeps to a violation of 1e-3 / 1e-6\n"
    yield "`python benchmarks/bench_iterations.py`: 200 × 260, costs in [0, 2], float64.\n"
    settings = list(record["rows"][0]["sweeps"])
    rows = [
        [row["family"], "balanced" if row["mass"] is None else f"M = {row['mass']}", f"{row['reg']:g}"]
        + [" / ".join("> 6000" if count is None else str(count) for count in row["sweeps"][name]) for name in settings]
        for row in record["rows"]
    ]
    yield table(["family", "", "reg", *settings], rows)


def accuracy(record: dict[str, Any]) -> Iterator[str]:
    """What is reached at small regularisation."""
    yield "## Small `reg`, float32 and float64\n"
    yield (
        "`python benchmarks/bench_accuracy.py`: the violation of the returned plan, measured in float64, and sweeps "
        "with products, by the range of the cost over `reg`, at the default tolerance and at most 4,000 sweeps; "
        "* = not converged.\n"
    )
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in record["rows"]:
        mass = "balanced" if row["mass"] is None else f"M = {row['mass']}"
        groups.setdefault((row["family"], mass, row["dtype"]), []).append(row)
    ratios = [row["ratio"] for row in next(iter(groups.values()))]
    rows = [
        [*names, *(f"{row['violation']:.0e} ({row['sweeps']}{'' if row['converged'] else '*'})" for row in group)]
        for names, group in groups.items()
    ]
    yield table(["family", "", "type", *(f"{ratio:,}" for ratio in ratios)], rows)


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


def lazy(record: dict[str, Any]) -> Iterator[str]:
    """Point clouds whose costs are not stored."""
    yield "## Point clouds whose costs are not stored\n"
    yield f"`{record['command']}`. " + measured_on(record["machine"])
    keys = ("sweep_s", "apply_s", "value_backward_s", "apply_and_backward_s", "forward_mib", "peak_mib")
    rows = [
        [
            f"{one['clouds']['points']:,} × {one['clouds']['dimension']}",
            *(number(one["figures"].get(key)) for key in keys),
        ]
        for one in record["results"]
        if one["figures"]["storage"] == "blocks"
    ]
    header = ["points", "a sweep, s", "`apply`, s", "backward of `value`, s", "`apply` and backward, s"]
    yield table([*header, "MiB beside the points, forward", "with backward"], rows)


def network(record: dict[str, Any]) -> Iterator[str]:
    """CMNet by what its transport is solved between."""
    yield "## CMNet\n"
    gpu = f" GPU: {record['gpu']}." if record["gpu"] else ""
    yield f"`{record['command']}`. {measured_on(record['machine']).rstrip()}{gpu}\n"
    weights = {name: sum(counts.values()) - counts["backbone"] for name, counts in record["weights"].items()}
    yield (
        "One query and one support. Forward: prediction, with four refinements. Training: forward with a graph and "
        "backward, without refinement. MiB: the most beside network and episode. Unrolled: PyTorch differentiates 50 "
        f"sweeps; - where they would keep more than {record['limit_gib']:g} GiB. Weights trained: "
        + ", ".join(f"{count:,} ({name})" for name, count in weights.items())
        + ".\n"
    )
    tables: dict[str, dict[str, list[str]]] = {}
    headers: dict[str, list[str]] = {}
    for row in record["rows"]:
        case, figures = row["case"], row["figures"] or {}
        title, place = f"{case['backbone']}, {case['side']}²", f"{case['device']}, threads: {case['threads']}"
        cells = tables.setdefault(title, {}).setdefault(case["transport"], [])
        cells += [number(figures.get("median_s")), number(figures.get("peak_mib"))]
        if case["transport"] == "none":
            kind = "training" if case["training"] else "forward"
            headers.setdefault(title, [title]).extend([f"{kind}, s ({place})", "MiB"])
    for title, rows in tables.items():
        yield table(headers[title], [[name, *cells] for name, cells in rows.items()])


def imports(record: dict[str, Any]) -> Iterator[str]:
    """What is waited for before anything is computed."""
    yield "## Imports and help\n"
    yield (
        f"`{record['command']}`. Processor time of a fresh interpreter, user's and system's, bytecode written before; "
        f"beyond PyTorch: the median of the differences within a turn. {measured_on(record['machine'])}"
    )
    rows = [
        [
            name,
            number(row["median_ms"]),
            f"{number(row['low_ms'])}–{number(row['high_ms'])}",
            number(row["beyond_torch_ms"]),
        ]
        for name, row in record["results"].items()
    ]
    yield table(["", "ms, median", "quartiles", "beyond `import torch`, ms"], rows)


def exact(record: dict[str, Any]) -> Iterator[str]:
    """To a certified gap, beside the network simplex."""
    yield "## To a certified gap\n"
    yield (
        "`solve(cost, mass=M, solver=AnnealedLP(tol_gap=1e-3))` stops when a feasible plan and feasible potentials are "
        "within 1e-3 of the value of each other. `OMP_NUM_THREADS=1 python benchmarks/bench_gap.py` puts "
        "it beside `ExactLP` and POT (`benchmarks/results/gap.json`): in every case measured the network simplex "
        "over a shortlist of pairs, which is what `ExactLP` runs, was faster, and it is exact.\n"
    )
    yield f"Measured on: {measured_on(record['machine'])}"


PAGES = {
    "benchmarks.md": (
        HEAD,
        {
            "sweep": sweeps,
            "cpu": solves,
            "iterations": iterations,
            "exact": programmes,
            "exact_3000": programmes,
            "formulations": formulations,
            "lazy": lazy,
            "import": imports,
            "cmnet": network,
        },
    ),
    "accuracy.md": (ACCURACY, {"accuracy": accuracy, "gap": exact}),
}


def main() -> None:
    """Write the pages from whatever results there are."""
    for page, (head, parts) in PAGES.items():
        written = [head]
        for name, part in parts.items():
            file = RESULTS / f"{name}.json"
            if file.exists():
                written += list(part(json.loads(file.read_text())))
        (DOCS / page).write_text("\n".join(written))


if __name__ == "__main__":
    main()
