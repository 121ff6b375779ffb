"""The pictures of the figures, as SVG that names the file it was drawn from."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Series = list[tuple[float, dict[str, Any]]]
"""Where along a curve, and the row that was measured there."""

_AXES = {"nodes": "nodes a side", "batch": "problems in the batch", "reg": "1 / reg", "mass": "mass moved"}
_COLOURS = {
    "partialot": "#c8553d",
    "partialot, capped": "#e8a598",
    "eager PyTorch": "#7a7a7a",
    "row-vector bmm": "#b5b5b5",
    "POT sinkhorn": "#1b6ca8",
    "POT solve_batch": "#63a4d8",
    "POT entropic partial": "#9db4c8",
    "OTT": "#3f8f4f",
    "GeomLoss": "#8a5aa8",
}


def digest(file: Path) -> str:
    """What a picture holds of the file that it was drawn from."""
    return "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()


def draw(file: Path, pictures: Path) -> None:
    """Draw `scaling.svg`, every curve, and `solve_time.svg`, the two along the nodes."""
    curves = json.loads(file.read_text())["curves"]
    balanced = [curve for curve in curves if curve["points"][0]["workload"]["mass"] is None]
    partial = [curve for curve in curves if curve not in balanced]
    _save([partial, balanced], pictures / "scaling.svg", digest(file))
    rows = [curve for curve in (*partial, *balanced) if curve["along"] == "nodes"]
    if rows:
        _save([rows], pictures / "solve_time.svg", digest(file))


def series(curve: dict[str, Any]) -> dict[str, Series]:
    """The points of every solver of a curve, from left to right."""
    found: dict[str, Series] = {}
    for point in curve["points"]:
        value = point["workload"][curve["along"]]
        place = 1.0 / value if curve["along"] == "reg" else float(value)
        for name, row in point["results"].items():
            found.setdefault(name, []).append((place, row))
    return found


def colour(name: str) -> str:
    """That of the longest beginning of the name."""
    return next(_COLOURS[start] for start in sorted(_COLOURS, key=len, reverse=True) if name.startswith(start))


def _save(rows: list[list[dict[str, Any]]], file: Path, source: str) -> None:
    columns = max(len(row) for row in rows)
    # Identifiers inside the file are random otherwise, and every drawing would be another file.
    with mpl.rc_context({"svg.hashsalt": "partialot", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(3.1 * columns, 2.7 * len(rows) + 1.0), layout="constrained")
        grid = figure.subplots(len(rows), columns, squeeze=False)
        lines: dict[str, Any] = {}
        for row, axes in zip(rows, grid, strict=True):
            for axis in axes[len(row) :]:
                axis.set_axis_off()
            for curve, axis in zip(row, axes, strict=False):
                lines |= dict(_draw_curve(axis, curve))
        # The longest names are as wide as a column of curves.
        figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=columns, frameon=False)
        figure.savefig(file, format="svg", metadata={"Date": None, "Source": source})


def _draw_curve(axes: Axes, curve: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    work = curve["points"][0]["workload"]
    for name, points in series(curve).items():
        right = [(place, row) for place, row in points if row["fault"] is None]
        places = [place for place, _ in right]
        low, median, high = ([row[key] for _, row in right] for key in ("low_ms", "median_ms", "high_ms"))
        style = {"color": colour(name), "linewidth": 2.2 if name == "partialot" else 1.2}
        (line,) = axes.plot(places, median, marker="o", markersize=3, **style)
        axes.fill_between(places, low, high, color=colour(name), alpha=0.2, linewidth=0)
        wrong = [place for place, row in points if row["fault"] is not None]
        axes.plot(wrong, [0.97] * len(wrong), "x", color=colour(name), transform=axes.get_xaxis_transform())
        yield name, line
    scale = "linear" if curve["along"] == "mass" else "log"
    axes.set(xscale=scale, yscale="log", xlabel=_AXES[curve["along"]], ylabel="ms, median")
    kind = "balanced" if work["mass"] is None else "partial"
    fixed = {"batch": f"batch {work['batch']}", "nodes": f"{work['nodes']}²", "reg": f"reg {work['reg']:g}"}
    axes.set_title(", ".join([kind, *(text for key, text in fixed.items() if key != curve["along"])]), fontsize=9)
    axes.grid(alpha=0.25)
    axes.minorticks_off()
