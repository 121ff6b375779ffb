"""The transport plan as lines between support and query, in the manner of the paper's figure 4."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch
from torch import Tensor

from fewshot.model.nodes import confident_foreground, foreground_share
from fewshot.model.prediction import Prediction
from fewshot.visualisation.figures import PANEL_INCHES, new_figure
from fewshot.visualisation.panels import Panel, overlay_mask


def draw_matching(panel: Panel, prediction: Prediction, *, task: int = 0, shot: int = 0, lines: int = 40) -> Figure:
    """Draw support and query side by side and join matched nodes, in the manner of the paper's figure 4.

    Each support node on the object is joined to the query node that receives most of its mass; the lines that carry
    most are drawn, the more mass the more opaque.

    Args:
        panel: The task, of which the support must be the one that `shot` names.
        prediction: With a transport plan.
        task: Number of the task within the prediction.
        shot: Number of the support.
        lines: How many nodes are joined at most.

    Raises:
        ValueError: The prediction has no plan.
    """
    starts, ends, mass = find_matches(panel, prediction, task=task, shot=shot, lines=lines)
    image, other = panel.support_image, panel.query_image
    figure = new_figure(4 * PANEL_INCHES, 2 * PANEL_INCHES)
    left, right = figure.subplots(1, 2)
    left.imshow(overlay_mask(image, panel.support_mask, opacity=0.35).numpy())
    right.imshow(overlay_mask(other, panel.prediction, opacity=0.35).numpy())
    for axes, title in ((left, "support"), (right, "query, predicted")):
        axes.set_axis_off()
        axes.set_title(title, fontsize=9)
    strongest = max(mass.tolist(), default=1.0) or 1.0
    for start, end, weight in zip(starts.tolist(), ends.tolist(), mass.tolist(), strict=True):
        _join(figure, left, right, start, end, opacity=0.15 + 0.85 * weight / strongest)
    return figure


def find_matches(
    panel: Panel, prediction: Prediction, *, task: int = 0, shot: int = 0, lines: int = 40
) -> tuple[Float[Tensor, "lines 2"], Float[Tensor, "lines 2"], Float[Tensor, " lines"]]:
    """List the matched pairs that `draw_matching` joins, heaviest first.

    Returns:
        Pixel (x, y) in the support, pixel (x, y) in the query, and the mass moved between them.

    Raises:
        ValueError: The prediction has no plan.
    """
    if prediction.plan is None or prediction.transport_map is None or prediction.support_grid is None:
        raise ValueError(
            "`prediction` must hold a transport plan. Found none. Use a network whose `transport` is not 'none'."
        )
    support_grid, grid = prediction.support_grid, prediction.transport_map.shape[-2:]
    share = foreground_share(panel.support_mask[None, None].long(), support_grid)[0, 0]
    on_object = confident_foreground(share).flatten().nonzero().squeeze(-1)
    mass, received = prediction.plan[task, shot].detach().cpu()[on_object].max(-1)
    mass, order = mass.sort(descending=True, stable=True)
    kept = order[:lines]
    starts = _node_pixels(on_object[kept], support_grid, panel.support_mask.shape)
    ends = _node_pixels(received[kept], (grid[0], grid[1]), panel.prediction.shape)
    return starts, ends, mass[:lines]


def _node_pixels(nodes: Tensor, grid: tuple[int, int], size: Sequence[int]) -> Float[Tensor, "lines 2"]:
    """Find the pixel (x, y) that each node is centred on; the outer nodes lie on the outer pixels."""
    rows = (nodes // grid[1]) * (size[0] - 1) / max(1, grid[0] - 1)
    columns = (nodes % grid[1]) * (size[1] - 1) / max(1, grid[1] - 1)
    return torch.stack([columns, rows], dim=-1).float()


def _join(figure: Figure, left: Axes, right: Axes, start: list[float], end: list[float], *, opacity: float) -> None:
    line = ConnectionPatch(
        (start[0], start[1]), (end[0], end[1]), "data", "data", axesA=left, axesB=right, color="gold", alpha=opacity
    )
    figure.add_artist(line)
