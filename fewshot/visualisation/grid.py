"""Picture beside picture, task below task, in the manner of the paper's figure 5."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from torch import Tensor

from fewshot.visualisation.figures import FONT_SIZE, PANEL_INCHES, SMALL_FONT_SIZE, new_figure
from fewshot.visualisation.overlays import MAP_COLOURS, overlay_map, overlay_mask
from fewshot.visualisation.panels import Panel

_NAME_INCHES = 0.9
_NAME_LETTERS = 13
_TALLEST = 1.25
_TITLE_HEIGHT, _SCALE_HEIGHT = 0.2, 0.18
_BADGE = {"boxstyle": "square,pad=0.15", "facecolor": "black", "edgecolor": "none", "alpha": 0.65}


@dataclass(frozen=True)
class _Cell:
    """A picture of the grid, with what is written into its corner."""

    pixels: UInt8[Tensor, "height width 3"]
    note: str = ""


@dataclass(frozen=True)
class _Column:
    """A column of the grid; `top` is the value at the end of its colour bar, None where it has no map."""

    title: str
    cells: tuple[_Cell | None, ...]
    top: float | None = None


def draw_grid(networks: Mapping[str, Sequence[Panel]]) -> Figure:
    """Draw a row per task: support, query, what each network saw and answered, truth.

    In a corner of each answer stands its IoU, at the left what the task is about. Columns that nothing fills (a network
    without prior, queries without truth) are left out, and so is a prior that all networks share but for its first. The
    colours of a map run from 0 to the greatest value in its column.

    Args:
        networks: For each network, by name, the same tasks. The name of a single network is not printed.

    Raises:
        ValueError: There is nothing to draw, or the networks have not as many tasks.
    """
    counts = {name: len(panels) for name, panels in networks.items()}
    if not counts or 0 in counts.values() or len(set(counts.values())) > 1:
        raise ValueError(
            f"Every network must answer the same tasks, at least one. Found {counts} tasks. Pass what `take_panel` "
            f"returns for each, in one order."
        )
    columns = _arrange(networks)
    first = next(iter(networks.values()))
    figure, names, grid = _lay_out(first, len(columns))
    for number, column in enumerate(columns):
        grid[0][number].text(0.5, 0, column.title, fontsize=FONT_SIZE, ha="center", va="bottom")
        for axes, cell in zip(grid[1:-1, number], column.cells, strict=True):
            _draw_cell(axes, cell)
        if column.top is not None:
            _draw_scale(figure, grid[-1][number], column.top)
    for axes, panel in zip(names, first, strict=False):
        axes.text(1, 0.5, textwrap.fill(panel.title, _NAME_LETTERS), fontsize=FONT_SIZE, ha="right", va="center")
    return figure


def _lay_out(panels: Sequence[Panel], columns: int) -> tuple[Figure, Sequence[Axes], np.ndarray]:
    """Make the axes: a column for names, if tasks have any, one for each column of pictures.

    The first row is for titles, which would not stand in line above pictures of several heights, the last for scales.
    """
    heights = [_TITLE_HEIGHT, *(_relative_height(panel) for panel in panels), _SCALE_HEIGHT]
    named = any(panel.title for panel in panels)
    widths = [_NAME_INCHES] * named + [PANEL_INCHES] * columns
    figure = new_figure(sum(widths), PANEL_INCHES * sum(heights) + 0.3)
    cast(ConstrainedLayoutEngine, figure.get_layout_engine()).set(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    grid = figure.subplots(len(heights), len(widths), squeeze=False, height_ratios=heights, width_ratios=widths)
    for axes in grid.flat:
        axes.set_axis_off()
    return figure, list(grid[1:-1, 0]) if named else [], grid[:, int(named) :]


def _arrange(networks: Mapping[str, Sequence[Panel]]) -> list[_Column]:
    first = next(iter(networks.values()))
    columns = [
        _Column(_count_supports(first), tuple(_Cell(_show_supports(panel)) for panel in first)),
        _Column("query", tuple(_Cell(panel.query_image) for panel in first)),
    ]
    shared = len(networks) > 1 and _share_prior(networks)
    if shared:
        columns += _map_columns("prior", [_first_prior(tasks) for tasks in zip(*networks.values(), strict=True)])
    for name, panels in networks.items():
        prefix = f"{name}\n" if len(networks) > 1 else ""
        if not shared:
            columns += _map_columns(f"{prefix}prior", [(panel, panel.prior_map) for panel in panels])
        columns += _map_columns(f"{prefix}transport map", [(panel, panel.transport_map) for panel in panels])
        answers = [_Cell(overlay_mask(panel.query_image, panel.prediction), _say_iou(panel)) for panel in panels]
        columns.append(_Column(f"{prefix}prediction", tuple(answers)))
    if any(panel.query_mask is not None for panel in first):
        truths = [
            None if panel.query_mask is None else _Cell(overlay_mask(panel.query_image, panel.query_mask))
            for panel in first
        ]
        columns.append(_Column("truth", tuple(truths)))
    return columns


def _map_columns(title: str, maps: Sequence[tuple[Panel, Tensor | None]]) -> list[_Column]:
    """Make the column of a map; none where no task has one."""
    present = [values.max().item() for _, values in maps if values is not None]
    if not present:
        return []
    # A map of zeros throughout still needs a scale.
    top = max(present) or 1.0
    cells = [
        None if values is None else _Cell(overlay_map(panel.query_image, values, top=top)) for panel, values in maps
    ]
    return [_Column(title, tuple(cells), top)]


def _share_prior(networks: Mapping[str, Sequence[Panel]]) -> bool:
    """Tell whether all networks that have a prior have the same: one backbone, which nothing trains."""
    for tasks in zip(*networks.values(), strict=True):
        priors = [panel.prior_map for panel in tasks if panel.prior_map is not None]
        if any(not torch.allclose(prior, priors[0], atol=1e-3) for prior in priors):
            return False
    return True


def _first_prior(tasks: Sequence[Panel]) -> tuple[Panel, Tensor | None]:
    return next(((panel, panel.prior_map) for panel in tasks if panel.prior_map is not None), (tasks[0], None))


def _show_supports(panel: Panel) -> Tensor:
    """Show the supports with their masks, several as tiles of a square."""
    tinted = [overlay_mask(image, mask) for image, mask in zip(panel.support_images, panel.support_masks, strict=True)]
    if len(tinted) == 1:
        return tinted[0]
    side = next(side for side in range(2, len(tinted) + 1) if side * side >= len(tinted))
    height, width = (max(picture.shape[axis] for picture in tinted) + 2 for axis in (0, 1))
    tiles = torch.full((side * side, height, width, 3), 255, dtype=torch.uint8)
    for tile, picture in zip(tiles, tinted, strict=False):
        tile[: picture.shape[0], : picture.shape[1]] = picture
    rows = -(-len(tinted) // side)
    return tiles.unflatten(0, (side, side))[:rows].transpose(1, 2).flatten(2, 3).flatten(0, 1)


def _count_supports(panels: Sequence[Panel]) -> str:
    most = max(len(panel.support_images) for panel in panels)
    return "support" if most == 1 else f"{most} supports"


def _say_iou(panel: Panel) -> str:
    return "" if panel.iou is None else f"IoU {100 * panel.iou:.0f}"


def _relative_height(panel: Panel) -> float:
    shape = panel.query_image.shape
    return min(_TALLEST, shape[0] / shape[1])


def _draw_cell(axes: Axes, cell: _Cell | None) -> None:
    if cell is None:
        return
    axes.imshow(cell.pixels.numpy(), interpolation="bilinear")
    if cell.note:
        axes.text(
            0.03,
            0.04,
            cell.note,
            transform=axes.transAxes,
            color="white",
            fontsize=SMALL_FONT_SIZE,
            verticalalignment="bottom",
            bbox=_BADGE,
        )


def _draw_scale(figure: Figure, axes: Axes, top: float) -> None:
    scale = ScalarMappable(Normalize(0, top), MAP_COLOURS)
    bar = figure.colorbar(scale, cax=axes.inset_axes((0.08, 0.55, 0.84, 0.4)), orientation="horizontal")
    bar.set_ticks([0, top], labels=["0", f"{top:.2g}"])
    bar.ax.tick_params(labelsize=SMALL_FONT_SIZE, length=2)
