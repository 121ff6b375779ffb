"""How training went: the loss step by step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fewshot.visualisation.figures import COLOURS, FONT_SIZE, SMALL_FONT_SIZE, new_figure, tidy_axes


@dataclass(frozen=True)
class Curve:
    """A number that was logged while something was trained.

    Attributes:
        steps: At which updates, in rising order.
        values: What it was there.
    """

    steps: tuple[int, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse a curve that cannot be drawn."""
        if not self.steps or len(self.steps) != len(self.values):
            raise ValueError(
                f"A curve must have a value at each step, at least one. Found {len(self.values)} values at "
                f"{len(self.steps)} steps. Leave a run out that logged nothing."
            )

    @classmethod
    def of_every_step(cls, values: Sequence[float]) -> "Curve":
        """Take a number that was logged at every step, from 0."""
        return cls(tuple(range(len(values))), tuple(values))


def draw_loss(losses: Mapping[str, Curve], *, window: int = 25) -> Figure:
    """Draw the loss of one or more runs, pale, and its running mean over it.

    Args:
        losses: By name of the run.
        window: Values that are averaged; fewer where there are not as many.
    """
    figure, axes = _new_axes("loss")
    for colour, (name, curve) in zip(_cycle(len(losses)), losses.items(), strict=True):
        width = min(window, len(curve.values))
        smooth = np.convolve(curve.values, np.full(width, 1 / width), mode="valid")
        axes.plot(curve.steps[width - 1 :], smooth, color=colour, label=name)
        axes.plot(curve.steps, curve.values, color=colour, alpha=0.25, linewidth=0.6)
    axes.legend(fontsize=SMALL_FONT_SIZE, frameon=False)
    return figure


def _new_axes(label: str) -> tuple[Figure, Axes]:
    figure = new_figure(6.4, 3.2)
    axes = figure.subplots()
    axes.set_xlabel("step", fontsize=FONT_SIZE)
    axes.set_ylabel(label, fontsize=FONT_SIZE)
    tidy_axes(axes)
    return figure, axes


def _cycle(count: int) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(count)]
