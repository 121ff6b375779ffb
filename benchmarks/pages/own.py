"""partialot alone: sweeps, precision, clouds, imports, the network."""

from collections.abc import Iterator
from typing import Any

from pages.markdown import measured_on, moved, number, table


def iterations(record: dict[str, Any]) -> Iterator[str]:
    """Sweeps over families of problems."""
    yield "## Sweeps to a violation of 1e-3 / 1e-6\n"
    yield "`python benchmarks/bench_iterations.py`: 200 × 260, costs in [0, 2], float64.\n"
    settings = list(record["rows"][0]["sweeps"])
    rows = [
        [row["family"], moved(row["mass"]), f"{row['reg']:g}"]
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
        groups.setdefault((row["family"], moved(row["mass"]), row["dtype"]), []).append(row)
    ratios = [row["ratio"] for row in next(iter(groups.values()))]
    rows = [
        [*names, *(f"{row['violation']:.0e} ({row['sweeps']}{'' if row['converged'] else '*'})" for row in group)]
        for names, group in groups.items()
    ]
    yield table(["family", "", "type", *(f"{ratio:,}" for ratio in ratios)], rows)


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


def storage(record: dict[str, Any]) -> Iterator[str]:
    """Clouds whose prices are stored beside such whose prices are not."""
    yield "## Stored and unstored prices of point clouds\n"
    yield f"`OMP_NUM_THREADS=1 {record['command']}`. " + measured_on(record["machine"])
    keys = ("matrix_sweep_ms", "blocks_sweep_ms", "pays_after_sweeps", "matrix_memory", "blocks_memory")
    rows = [
        [f"{one['case']['points']:,} × {one['case']['dimension']}", *(number(one["figures"][key]) for key in keys)]
        for one in record["results"]
    ]
    header = ["points", "a sweep, stored, ms", "not stored", "storing pays after sweeps"]
    yield table([*header, "most memory in matrices, stored", "not stored"], rows)


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
