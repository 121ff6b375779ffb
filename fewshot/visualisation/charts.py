"""How training went and what came of it, as charts."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from fewshot.visualisation.figures import new_figure


def draw_loss(losses: Mapping[str, Sequence[float]], *, window: int = 25) -> Figure:
    """Draw the loss of one or more runs step by step, with a running mean.

    Args:
        losses: Loss of each step, by name of the run.
        window: Steps that are averaged.

    Raises:
        ValueError: A run has no steps.
    """
    figure = new_figure(6.0, 3.5)
    axes = figure.subplots()
    for name, values in losses.items():
        if not values:
            raise ValueError(f"Every run must have at least one step. Found none in {name!r}. Leave the run out.")
        width = min(window, len(values))
        smooth = np.convolve(values, np.full(width, 1 / width), mode="valid")
        (line,) = axes.plot(range(width - 1, len(values)), smooth, label=name)
        axes.plot(values, color=line.get_color(), alpha=0.2, linewidth=0.6)
    axes.set(xlabel="step", ylabel="loss")
    axes.legend()
    return figure


def draw_scores(scores: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw the scores of several rows side by side as bars, with their values.

    Args:
        scores: For each row (a network) its scores by name, in per cent; a name that a row lacks has no bar there.
    """
    figure = new_figure(1.5 + 1.2 * len(scores), 4.0)
    axes = figure.subplots()
    names = list(dict.fromkeys(name for row in scores.values() for name in row))
    width = 0.8 / max(1, len(names))
    for number, name in enumerate(names):
        present = [(row, values[name]) for row, values in enumerate(scores.values()) if name in values]
        places = [row + (number - (len(names) - 1) / 2) * width for row, _ in present]
        bars = axes.bar(places, [value for _, value in present], width, label=name)
        axes.bar_label(bars, fmt="%.1f", fontsize=8)
    axes.set_xticks(range(len(scores)), list(scores), fontsize=8)
    axes.set_ylabel("per cent")
    figure.legend(loc="outside upper center", ncols=2, fontsize=8)
    return figure
