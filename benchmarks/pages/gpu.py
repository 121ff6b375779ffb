"""What was measured on a GPU: its ceilings, figures beside floors and targets, and the peers."""

from collections.abc import Iterator
from typing import Any

from pages.markdown import number, spread, table


def gpu(record: dict[str, Any]) -> Iterator[str]:
    """All of it."""
    yield "## On a GPU\n"
    yield f"`{record['command']}`. {_measured_on(record['machine'])}"
    yield (
        "Medians with quartiles, taken in turns. Floors follow from the ceilings of the same run: no solver can be "
        "faster that does what is named. Targets were set for an H200.\n"
    )
    yield _ceilings(record["ceilings"])
    parts = [(row, part) for row in record["rows"] for part in row["parts"]]
    yield _figures([(row, part) for row, part in parts if "median_ms" in part])
    yield _ratios([(row, part) for row, part in parts if "value" in part])
    for _, part in parts:
        if "results" in part:
            yield _comparison(part)
    yield from _missing(record)


def _measured_on(machine: dict[str, Any]) -> str:
    known = ("torch", "cuda", "triton", "pot", "geomloss", "flash-sinkhorn", "ott-jax", "jax")
    versions = [f"{name} {machine[name]}" for name in known if machine.get(name)]
    absent = machine["not installed"]
    versions += [f"**not installed, so not compared: {', '.join(absent)}**"] if absent else []
    return f"{machine.get('card')}, driver {machine.get('driver')}; {', '.join(versions)}.\n"


def _ceilings(found: dict[str, dict[str, Any]]) -> str:
    rows = [[name, one.get("error") or _quantity(one["ceiling"], one["unit"])] for name, one in found.items()]
    return table(["ceiling", "measured"], rows)


def _quantity(value: float, unit: str) -> str:
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if unit != "s" and value >= size:
            return f"{number(value / size)} {prefix}{unit}" if unit != "1/s" else f"{number(value / size)} {prefix}/s"
    return f"{number(1e6 * value)} µs" if unit == "s" else f"{number(value)} {unit}"


def _figures(parts: list[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    rows = [
        [
            row["number"],
            part["what"],
            row["path"],
            number(part["median_ms"]),
            spread(part),
            number(part["floor_ms"]),
            part["floor_is"],
            "-" if part["fraction_of_floor"] is None else f"{100 * part['fraction_of_floor']:.0f} %",
            number(part["target_ms"]),
        ]
        for row, part in parts
    ]
    header = ["row", "partialot", "passes by", "ms, median", "quartiles", "floor, ms", "which is", "reached"]
    return table([*header, "target, ms"], rows)


def _ratios(parts: list[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    rows = [[row["number"], part["what"], f"{part['value']:.3g}", number(part["target"])] for row, part in parts]
    return table(["row", "partialot", "measured", "target"], rows)


def _comparison(part: dict[str, Any]) -> str:
    ours = part["results"].get("partialot", {}).get("median_ms")
    rows = [
        [name, number(row.get("iterations")), _time(row), spread(row), _over(row, ours), number(row.get("violation"))]
        for name, row in part["results"].items()
    ]
    return table([part["what"], "iterations", "ms, median", "quartiles", "over ours", "violation"], rows)


def _time(row: dict[str, Any]) -> str:
    return number(row["median_ms"]) if row.get("fault") is None else f"**no answer**: {row['fault']}"


def _over(row: dict[str, Any], ours: float | None) -> str:
    if ours is None or ours <= 0 or row.get("fault") is not None:
        return "-"
    return number(row["median_ms"] / ours)


def _missing(record: dict[str, Any]) -> Iterator[str]:
    lines = [f"- **not measured**: {name}: {why}" for name, why in record["not_measured"].items()]
    lines += [f"- **failed**: {row['row']}: {row['error']}" for row in record["rows"] if row["error"]]
    if lines:
        yield "\n".join(lines) + "\n"
