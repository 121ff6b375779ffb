"""partialot beside its peers: iterations, solves, gradients, memory, small reg."""

from collections.abc import Iterator
from typing import Any

from pages.markdown import measured_on, moved, number, spread, table

_JUDGED = (
    "Same problem, same violation (what exceeds the weights, and the error of the mass, over the mass), measured on "
    "the plan that is returned. The peers are told the fewest iterations that reach it. Capped: another problem, with "
    "another optimum. Distance: from the optimal plan, over the mass.\n"
)


def sweeps(record: dict[str, Any]) -> Iterator[str]:
    """One full iteration beside the peers."""
    yield "## One full iteration\n"
    yield f"`{record['command']}`. " + measured_on(record["machine"])
    for one in record["tables"]:
        size = f"{one['workload']['batch']} × {one['workload']['nodes']}²"
        rows = [
            [name, number(row["median_ms"]), spread(row), number(row["reads"], 2)]
            for name, row in one["results"].items()
        ]
        yield table([f"{size}, float32, partial", "ms, median", "quartiles", "reads of the matrix"], rows)


def solves(record: dict[str, Any]) -> Iterator[str]:
    """Whole solves beside the peers."""
    nodes = {one["workload"]["nodes"] for one in record["solves"]}
    yield "## Whole solves" + (f", {min(nodes):,} nodes a side" if len(nodes) == 1 else "") + "\n"
    yield f"`{record['command']}`. " + measured_on(record["machine"])
    yield _JUDGED
    for one in record["solves"]:
        rows = [
            [
                name,
                number(row["iterations"]),
                _time(row),
                spread(row),
                *(number(row.get(key)) for key in ("violation", "distance")),
            ]
            for name, row in one["results"].items()
        ]
        yield table([_size(one["workload"]), "iterations", "ms, median", "quartiles", "violation", "distance"], rows)


def gradients(record: dict[str, Any]) -> Iterator[str]:
    """Forward and backward beside the peers."""
    yield "## Forward and backward of a function of the plan\n"
    yield f"`{record['command']}`. " + measured_on(record["machine"])
    for one in record["gradients"]:
        rows = [
            [
                name,
                number(row.get("forward_ms")),
                number(row.get("backward_ms")),
                spread(row),
                number(row["error"]),
                row["fault"] or "",
            ]
            for name, row in one["results"].items()
        ]
        header = [
            _size(one["workload"]),
            "forward, ms",
            "backward, ms",
            "both, quartiles",
            "relative error of the derivative",
        ]
        yield table([*header, "no answer"], rows)


def memory(record: dict[str, Any]) -> Iterator[str]:
    """The most that is held."""
    yield "## Memory\n"
    yield f"`{record['command']}`: the most that is resident beside the costs. " + measured_on(record["machine"])
    for one in record["results"]:
        rows = [
            [name, f"**{row['fault']}**", ""]
            if row["fault"]
            else [name, number(row["peak_mib"]), number(row["matrices"])]
            for name, row in one["results"].items()
        ]
        yield table([_size(one["workload"]), "MiB", "matrices of costs"], rows)


def small_reg(record: dict[str, Any]) -> Iterator[str]:
    """What plans are worth at small regularisation."""
    yield "## Small `reg` beside the peers\n"
    yield (
        f"`{record['command']}`: the violation of the plan after at most {record['iterations']:,} iterations, by the "
        "range of the cost over `reg`; bold: no answer at a violation of 1e-3, and why. "
        + measured_on(record["machine"])
    )
    groups: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
    for one in record["results"]:
        groups.setdefault((moved(one["workload"]["mass"]), one["dtype"]), {})[one["ratio"]] = one["results"]
    for names, columns in groups.items():
        solvers = list(next(iter(columns.values())))
        rows = [[solver, *(_worth(rows[solver]) for rows in columns.values())] for solver in solvers]
        yield table([", ".join(names), *(f"{ratio:,}" for ratio in columns)], rows)


def scaling(record: dict[str, Any]) -> Iterator[str]:
    """How the time grows."""
    yield "## How the time grows\n"
    yield f"`{record['command']}`. " + measured_on(record["machine"])
    yield (
        "![Time of a solve by nodes, batch, 1/reg and mass](images/scaling.svg)\n\n"
        "Medians with quartiles, both axes logarithmic; above, partial problems, below, balanced ones. A cross ends a "
        "curve where its solver gave no answer:\n"
    )
    rows = [
        [solver, _named(curve["along"], point["workload"]), row["fault"]]
        for curve in record["curves"]
        for point in curve["points"]
        for solver, row in point["results"].items()
        if row["fault"] is not None
    ]
    yield table(["", "where", "no answer"], rows) if rows else "All solvers gave an answer at every point.\n"


def _size(work: dict[str, Any]) -> str:
    return f"{work['batch']} × {work['nodes']}², {moved(work['mass'])}, to {work['error']:g}"


def _time(row: dict[str, Any]) -> str:
    fault = row.get("fault")
    return number(row["median_ms"]) if fault is None else f"**no answer**: {fault}"


def _worth(row: dict[str, Any]) -> str:
    return number(row["violation"], 2) if row["fault"] is None else f"**{row['fault']}**"


def _named(along: str, work: dict[str, Any]) -> str:
    return f"{moved(work['mass'])}, {work['batch']} × {work['nodes']}², reg {work['reg']:g} (along {along})"
