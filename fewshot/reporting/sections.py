"""Scores, losses, pictures and settings as sections of a report, whatever was run."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from fewshot.reporting.report import Cell, Figure, Listing, Paragraph, Part, Section, Table
from fewshot.visualisation import (
    Curve,
    Matches,
    Panel,
    draw_class_scores,
    draw_differences,
    draw_grid,
    draw_loss,
    draw_matching,
    draw_scores,
    encode_figure,
)

CHARTED_CLASSES = 25
"""Of more classes there is a table only: FSS-1000 tests 240."""


def scores_section(scores: Mapping[str, Mapping[str, Sequence[float]]], *, spread: str = "seeds") -> Section:
    """Show the scores of one or more networks as a table and as bars.

    Args:
        scores: For each network its scores by name, in per cent: one value, or several that the mean and the standard
            deviation are taken over.
        spread: What there are several of.
    """
    names = tuple(dict.fromkeys(name for row in scores.values() for name in row))
    several = any(len(values) > 1 for row in scores.values() for values in row.values())
    rows = tuple(
        (network, *(format_spread(row[name]) if name in row else None for name in names))
        for network, row in scores.items()
    )
    caption = f"Per cent, mean ± standard deviation over {spread}." if several else "Per cent."
    chart = Figure(encode_figure(draw_scores(scores)), "the scores of the table as bars")
    return Section("Scores", (Table(("network", *names), rows, caption), chart))


def differences_section(
    differences: Mapping[str, Sequence[float]], *, baseline: str, score: str, spread: str = "seeds"
) -> Section:
    """Show by how much networks are above another on the same episodes.

    Args:
        differences: For each network, its score less the baseline's, one or several, in points.
        baseline: Name of the network that was taken off.
        score: Which score it is.
        spread: What there are several of.
    """
    rows = tuple(
        (name, fmean(values), 2 * stdev(values) / len(values) ** 0.5 if len(values) > 1 else None, len(values))
        for name, values in differences.items()
    )
    columns = ("network", "mean", "2 standard errors", spread)
    caption = (
        f"Points of {score} above {baseline}, on the same episodes. A mean closer to 0 than two standard errors shows "
        f"nothing."
    )
    chart = Figure(encode_figure(draw_differences(differences, baseline=baseline)), "the differences as points")
    return Section(f"Differences from {baseline}", (Table(columns, rows, caption), chart))


def classes_section(scores: Mapping[str, Mapping[str, float]], *, episodes: Mapping[str, int]) -> Section:
    """Show the IoU of each class.

    Args:
        scores: For each network its IoU by name of the class, in per cent.
        episodes: How many episodes each class had.
    """
    classes = tuple(dict.fromkeys(name for row in scores.values() for name in row))
    rows = tuple((name, *(row.get(name) for row in scores.values()), episodes.get(name)) for name in classes)
    parts: list[Part] = [Table(("class", *scores, "episodes"), rows, "IoU of each class, per cent.")]
    if len(classes) <= CHARTED_CLASSES:
        parts.append(Figure(encode_figure(draw_class_scores(scores)), "the IoU of each class as bars"))
    return Section("Classes", tuple(parts), folded=len(classes) > CHARTED_CLASSES)


def training_section(losses: Mapping[str, Curve]) -> Section:
    """Show how training went.

    Args:
        losses: Loss by name of the run.
    """
    caption = "Pale: each logged value. Strong: their running mean."
    return Section("Training", (Figure(encode_figure(draw_loss(losses)), "loss by step", caption),))


def pictures_section(networks: Mapping[str, Sequence[Panel]], *, choice: str) -> Section:
    """Show tasks picture by picture.

    Args:
        networks: For each network, by name, the same tasks.
        choice: How the tasks were chosen, to be printed: pictures that look good were not, one hopes. Empty where there
            was no choice.
    """
    lines = [choice] if choice else []
    first = next(iter(networks.values()), ())
    if any(panel.iou is not None for panel in first):
        lines.append("The IoU in a corner is that of the one answer. White is unknown and counts for nothing.")
    text = (Paragraph(" ".join(lines)),) if lines else ()
    grid = Figure(encode_figure(draw_grid(networks)), "support, query, maps, prediction and truth of some tasks")
    return Section("Segmentations", (*text, grid))


def matching_section(flows: Sequence[tuple[Panel, Sequence[Matches]]]) -> Section:
    """Show where the mass of the object goes.

    Args:
        flows: Tasks, each with what `find_matches` gives for each of its supports.
    """
    figures = [
        Figure(encode_figure(draw_matching(panel, matches)), "lines from support nodes to query nodes", panel.title)
        for panel, matches in flows
    ]
    text = "Each node of the object in the support is joined to the query node that receives most of its mass."
    return Section("Matching", (Paragraph(text), *figures))


def settings_section(settings: Mapping[str, Mapping[str, Any]], *, title: str = "Settings") -> Section:
    """Show every choice behind one or more networks: first what they have in common, then where they differ.

    Args:
        settings: For each network its choices by name, nested as they are.
        title: The heading.
    """
    flat = {name: dict(_flatten(values)) for name, values in settings.items()}
    keys = tuple(dict.fromkeys(key for values in flat.values() for key in values))
    found = {key: tuple(values.get(key) for values in flat.values()) for key in keys}
    common = tuple((key, values[0]) for key, values in found.items() if len(set(values)) == 1)
    apart = tuple((key, *values) for key, values in found.items() if len(set(values)) > 1)
    parts: list[Part] = []
    if apart:
        parts.append(Table(("where they differ", *flat), apart, text_columns=1 + len(flat)))
    if common:
        parts.append(Table(("setting", "value"), common, text_columns=2))
    return Section(title, tuple(parts), folded=True)


def making_section(facts: Mapping[str, Cell], *, commands: Sequence[str] = ()) -> Section:
    """Say how a run was made.

    Args:
        facts: Commit, versions, data, seeds and what else a reader wants before the numbers are believed.
        commands: What was typed.
    """
    rows = tuple((name, value) for name, value in facts.items() if value is not None)
    listing = (Listing("\n".join(commands)),) if commands else ()
    return Section("How it was made", (*listing, Table(("", ""), rows, text_columns=2)))


def format_spread(values: Sequence[float]) -> str:
    """Print a score: its mean, and the standard deviation where there are several."""
    mean = f"{fmean(values):.1f}"
    return f"{mean} ± {stdev(values):.1f}" if len(values) > 1 else mean


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Name every choice by its path; what counts by numbers (pixels of classes) stays on one line."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value and not all(str(key).isdigit() for key in value):
            yield from _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, Mapping):
            yield f"{prefix}{name}", ", ".join(f"{key}: {one}" for key, one in value.items())
        elif isinstance(value, Sequence) and not isinstance(value, str):
            yield f"{prefix}{name}", ", ".join(str(one) for one in value)
        else:
            yield f"{prefix}{name}", str(value)
