"""What came of training, as bars and points with their spread over seeds."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fewshot.visualisation.figures import COLOURS, FONT_SIZE, SMALL_FONT_SIZE, new_figure, tidy_axes

_BAR_INCHES = 0.24
_GROUP_SHARE = 0.8


def draw_scores(scores: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw the scores of several rows as bars: the mean over seeds, its standard deviation, each seed as a point.

    Args:
        scores: For each row (a network) its scores by name, in per cent, one for each seed; a name that a row lacks
            has no bar there. A single seed has neither deviation nor point.
    """
    figure = _draw_bars(scores)
    figure.axes[0].set_xlabel("per cent", fontsize=FONT_SIZE)
    return figure


def draw_class_scores(scores: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw the IoU of each class for one or more networks side by side.

    Args:
        scores: For each network its IoU by name of the class, in per cent.
    """
    classes = dict.fromkeys(name for row in scores.values() for name in row)
    by_class = {
        class_: {network: [row[class_]] for network, row in scores.items() if class_ in row} for class_ in classes
    }
    figure = _draw_bars(by_class)
    figure.axes[0].set_xlabel("IoU, per cent", fontsize=FONT_SIZE)
    return figure


def draw_differences(differences: Mapping[str, Sequence[float]], *, baseline: str) -> Figure:
    """Draw by how much each row is above another, seed by seed on the same episodes.

    The bar about the mean is two standard errors long on either side; one that crosses zero shows no difference. A
    single seed has no bar.

    Args:
        differences: For each row, what each seed scored less what the baseline scored at the same seed, in points.
        baseline: Name of the row that was taken off.

    Raises:
        ValueError: There is nothing to draw.
    """
    _require_values(differences)
    figure = new_figure(6.4, 0.9 + 0.36 * len(differences))
    axes = figure.subplots()
    axes.axvline(0, color="0.4", linewidth=0.8)
    for place, values in enumerate(differences.values()):
        error = 2 * stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
        axes.errorbar(fmean(values), place, xerr=error, fmt="D", markersize=6, capsize=3, color=COLOURS[0])
        axes.scatter(values, [place] * len(values), s=9, color="white", edgecolors="0.15", linewidths=0.6, zorder=3)
        axes.annotate(
            f"{fmean(values):+.1f}",
            (fmean(values), place),
            xytext=(0, 6),
            textcoords="offset points",
            fontsize=SMALL_FONT_SIZE,
            horizontalalignment="center",
        )
    _name_rows(axes, list(differences))
    axes.set_xlabel(f"points above {baseline}, mean ± 2 standard errors", fontsize=FONT_SIZE)
    return figure


def _draw_bars(rows: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw a group of bars for each row, a colour for each name within."""
    _require_values({f"{row}, {name}": values for row, group in rows.items() for name, values in group.items()})
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    figure = new_figure(6.4, 0.9 + len(rows) * max(0.36, _BAR_INCHES * len(names) / _GROUP_SHARE))
    axes = figure.subplots()
    thickness = _GROUP_SHARE / len(names)
    for number, name in enumerate(names):
        shift = (number - (len(names) - 1) / 2) * thickness
        places = [place + shift for place, row in enumerate(rows.values()) if name in row]
        values = [row[name] for row in rows.values() if name in row]
        _draw_series(axes, places, values, name, thickness, COLOURS[number % len(COLOURS)])
    # Room for the numbers at the ends of the bars, were they all 0.
    axes.set_xlim(0, max(1.0, 1.12 * axes.dataLim.xmax))
    _name_rows(axes, list(rows))
    if len(names) > 1:
        figure.legend(loc="outside upper center", ncols=min(4, len(names)), fontsize=SMALL_FONT_SIZE, frameon=False)
    return figure


def _draw_series(
    axes: Axes, places: list[float], values: list[Sequence[float]], name: str, thickness: float, colour: str
) -> None:
    means = [fmean(seeds) for seeds in values]
    spreads = [stdev(seeds) if len(seeds) > 1 else 0.0 for seeds in values]
    axes.barh(places, means, thickness * 0.92, color=colour, label=name)
    for place, seeds, mean, spread in zip(places, values, means, spreads, strict=True):
        end, text = max([mean, *seeds]) if len(seeds) > 1 else mean, f"{mean:.1f}"
        if len(seeds) > 1:
            axes.errorbar(mean, place, xerr=spread, fmt="none", ecolor="0.15", elinewidth=0.9, capsize=2)
            axes.scatter(seeds, [place] * len(seeds), s=9, color="white", edgecolors="0.15", linewidths=0.6, zorder=3)
            end, text = max(end, mean + spread), f"{mean:.1f} ± {spread:.1f}"
        axes.annotate(
            text,
            (end, place),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=SMALL_FONT_SIZE,
            verticalalignment="center",
        )


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    tidy_axes(axes)
    axes.grid(visible=False, axis="y")
    axes.set_yticks(range(len(names)), names, fontsize=FONT_SIZE)
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.tick_params(axis="y", length=0)


def _require_values(series: Mapping[str, Sequence[float]]) -> None:
    empty = [name for name, values in series.items() if not values]
    if not series or empty:
        found = f"none in {empty[0]!r}" if empty else "no row at all"
        raise ValueError(
            f"Every row must have at least one value. Found {found}. Leave out rows that were not evaluated."
        )
