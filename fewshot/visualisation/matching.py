"""The transport plan as lines between support and query, in the manner of the paper's figure 4."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from torch import Tensor

from fewshot.episode import Episode
from fewshot.model.nodes import confident_foreground, foreground_share
from fewshot.model.prediction import Prediction
from fewshot.visualisation.figures import FONT_SIZE, SMALL_FONT_SIZE, new_figure
from fewshot.visualisation.overlays import overlay_mask
from fewshot.visualisation.panels import Panel, visible_part

_LINE_COLOURS = "viridis"
"""Far from the red of objects at either end, and nowhere black: a black line would say nothing."""
_OPACITY = 0.3
_GAP = 0.12
"""Between the two pictures, in heights of a picture."""


@dataclass(frozen=True)
class Matches:
    """Pairs of nodes that a plan joins, heaviest first.

    Attributes:
        starts: Pixel (x, y) in the support, its padding cut off.
        ends: Pixel (x, y) in the query, likewise.
        mass: Moved from the one to the other; every query node can take 1.
    """

    starts: Float[Tensor, "lines 2"]
    ends: Float[Tensor, "lines 2"]
    mass: Float[Tensor, " lines"]


def find_matches(episode: Episode, prediction: Prediction, *, task: int = 0, shot: int = 0, lines: int = 40) -> Matches:
    """Join each support node on the object to the query node that receives most of its mass.

    Args:
        episode: What was asked.
        prediction: The answer, with a transport plan.
        task: Number of the task in the batch.
        shot: Number of the support.
        lines: How many pairs are kept at most: those that carry most.

    Raises:
        ValueError: The prediction has no plan.
    """
    grid, support_grid = prediction.query_grid, prediction.support_grid
    if prediction.plan is None or prediction.transport_map is None or grid is None or support_grid is None:
        raise ValueError(
            "`prediction` must hold a transport plan. Found none. Use a network whose `transport` is not 'none'."
        )
    # Averaged nodes are meant by the centres of their cells, all others as logits are: the outer ones on the border.
    pooled = grid != prediction.transport_map.shape[-2:]
    mask = episode.support_masks[task, shot].cpu()
    share = foreground_share(mask[None, None], support_grid)[0, 0]
    on_object = confident_foreground(share).flatten().nonzero().squeeze(-1)
    mass, received = prediction.plan[task, shot].detach().cpu().float()[on_object].max(-1)
    mass, order = mass.sort(descending=True, stable=True)
    kept = order[:lines]
    support_valid = None if episode.support_valid is None else episode.support_valid[task, shot]
    query_valid = None if episode.query_valid is None else episode.query_valid[task]
    return Matches(
        _node_pixels(on_object[kept], support_grid, mask.shape, pooled=pooled) - _corner(support_valid),
        _node_pixels(received[kept], grid, episode.query_image.shape[-2:], pooled=pooled) - _corner(query_valid),
        mass[:lines],
    )


def draw_matching(panel: Panel, matches: Sequence[Matches]) -> Figure:
    """Draw each support beside the query and join what the plan joins; the more mass, the lighter the line.

    Args:
        panel: The task.
        matches: What `find_matches` gives for each of its supports.

    Raises:
        ValueError: There are not as many as supports.
    """
    if len(matches) != len(panel.support_images):
        raise ValueError(
            f"`matches` must be given for each support. Found {len(matches)} for {len(panel.support_images)} supports. "
            f"Call `find_matches` with each `shot`."
        )
    answer = overlay_mask(panel.query_image, panel.prediction, opacity=_OPACITY)
    strongest = max((one.mass.max().item() for one in matches if len(one.mass)), default=0.0) or 1.0
    scale = ScalarMappable(Normalize(0, strongest), _LINE_COLOURS)
    pictures = [
        overlay_mask(image, mask, opacity=_OPACITY)
        for image, mask in zip(panel.support_images, panel.support_masks, strict=True)
    ]
    widest = max(_aspect(picture) for picture in pictures) + _GAP + _aspect(answer)
    inches = 3.0 if len(matches) == 1 else 2.2
    figure = new_figure(inches * widest + 0.8, (inches + 0.2) * len(matches) + 0.1)
    grid = figure.subplots(len(matches), 1, squeeze=False)[:, 0]
    for shot, (axes, picture, found) in enumerate(zip(grid, pictures, matches, strict=True)):
        title = "support" if len(matches) == 1 else f"support {shot + 1}"
        _draw_pair(axes, picture, answer, title)
        starts = _to_height(found.starts, picture, 0.0)
        ends = _to_height(found.ends, answer, _aspect(picture) + _GAP)
        _draw_lines(axes, starts, ends, found.mass, scale)
    bar = figure.colorbar(scale, ax=list(grid), fraction=0.03, pad=0.01, aspect=30)
    bar.set_label("mass moved, in nodes", fontsize=FONT_SIZE)
    bar.ax.tick_params(labelsize=SMALL_FONT_SIZE)
    return figure


def _draw_pair(axes: Axes, left: Tensor, right: Tensor, title: str) -> None:
    """Put two pictures side by side, each 1 high."""
    edge = _aspect(left) + _GAP
    axes.imshow(left.numpy(), interpolation="bilinear", extent=(0, _aspect(left), 1, 0))
    axes.imshow(right.numpy(), interpolation="bilinear", extent=(edge, edge + _aspect(right), 1, 0))
    axes.set(xlim=(0, edge + _aspect(right)), ylim=(1, 0))
    axes.set_axis_off()
    # The queries of several supports stand below each other.
    axes.set_anchor("E")
    for place, text in ((_aspect(left) / 2, title), (edge + _aspect(right) / 2, "query, predicted")):
        axes.text(place, -0.02, text, fontsize=FONT_SIZE, horizontalalignment="center", verticalalignment="bottom")


def _draw_lines(axes: Axes, starts: Tensor, ends: Tensor, mass: Tensor, scale: ScalarMappable) -> None:
    """Draw the lightest line last, edged in black so that it shows on light and on dark pictures."""
    order = mass.argsort()
    starts, ends = starts[order], ends[order]
    colours = scale.to_rgba(mass[order].numpy())
    lines = LineCollection(list(torch.stack([starts, ends], dim=1).numpy()), colors=colours, linewidths=1.0)
    lines.set_path_effects([withStroke(linewidth=1.8, foreground="black", alpha=0.6)])
    axes.add_collection(lines)
    for points in (starts, ends):
        axes.scatter(*points.T.numpy(), s=10, c=colours, edgecolors="black", linewidths=0.5, zorder=3)


def _to_height(points: Tensor, picture: Tensor, left: float) -> Tensor:
    """Bring pixels to a picture that is 1 high and begins at `left`; pixels are meant by their centres."""
    return (points + 0.5) / picture.shape[0] + torch.tensor([left, 0.0])


def _aspect(picture: Tensor) -> float:
    return picture.shape[1] / picture.shape[0]


def _node_pixels(
    nodes: Tensor, grid: tuple[int, int], size: Sequence[int], *, pooled: bool
) -> Float[Tensor, "lines 2"]:
    """Find the pixel (x, y) that each node is centred on."""
    places = []
    for number, count, pixels in ((nodes % grid[1], grid[1], size[1]), (nodes // grid[1], grid[0], size[0])):
        if pooled:
            places.append((number + 0.5) * pixels / count - 0.5)
        else:
            places.append(number * (pixels - 1) / max(1, count - 1))
    return torch.stack(places, dim=-1).float()


def _corner(valid: Tensor | None) -> Tensor:
    rows, columns = visible_part(valid)
    return torch.tensor([columns.start or 0, rows.start or 0])
