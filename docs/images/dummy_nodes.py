"""What dummy nodes do: the balanced problem that is solved, and the partial plan that is left of it."""

import torch
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from torch import Tensor

import partialot
from colours import CARRIED, QUIET, SOURCE, TARGET
from hills import weights

COUNT, MASS, REG = 14, 0.6, 0.003


def draw() -> Figure:
    """Draw the bordered cost, the plan of it, and the plan without its border."""
    places, a, b = weights(COUNT)
    cost = (places[:, None] - places).square()
    bordered = partialot.augment(cost, a, b, mass=MASS)
    balanced = partialot.solve(bordered.cost, bordered.a, bordered.b, reg=REG)
    partial = partialot.solve(cost, a, b, mass=MASS, reg=REG)
    figure = Figure(figsize=(9.0, 3.5), dpi=160, layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _draw_cost(left, bordered.cost)
    _draw_plan(middle, balanced.plan, bordered.a, bordered.b, "its plan: the border keeps 1 − M on each side")
    _draw_plan(right, partial.plan, a, b, f"partial transport: {partial.mass.item():.2f} moves")
    return figure


def _draw_cost(axes: Axes, cost: Tensor) -> None:
    axes.imshow(cost.masked_fill(cost == torch.inf, torch.nan), cmap="viridis")
    n = cost.shape[0] - 1
    axes.plot([n - 0.4, n + 0.4], [n - 0.4, n + 0.4], color=TARGET)
    axes.plot([n - 0.4, n + 0.4], [n + 0.4, n - 0.4], color=TARGET)
    axes.text(n - 0.8, n + 0.1, "forbidden", ha="right", va="center", color="white", fontsize=8)
    axes.set_title("the cost, bordered by zeros", fontsize=9)
    _frame(axes, n)


def _draw_plan(axes: Axes, plan: Tensor, a: Tensor, b: Tensor, title: str) -> None:
    axes.imshow(plan, cmap=CARRIED, norm=PowerNorm(0.4, vmin=0, vmax=float(plan.max())))
    n, m = plan.shape
    kept = 1 - plan.sum(1) / a
    lacking = 1 - plan.sum(0) / b
    for side, share, colour in ((0, kept, SOURCE), (1, lacking, TARGET)):
        places = torch.arange(len(share))
        ends = torch.full_like(share, -1.2)
        along, across = (ends, places) if side == 0 else (places, ends)
        axes.scatter(along, across, s=30, edgecolors=colour, facecolors="white", clip_on=False)
        axes.scatter(along, across, s=30 * (1 - share.clamp(min=0)), color=colour, clip_on=False)
    axes.set_title(title, fontsize=9, pad=14)
    if n > COUNT:
        _frame(axes, n - 1)
    axes.set_xlim(-1.8, m - 0.5)
    axes.set_ylim(n - 0.5, -1.8)
    axes.set_axis_off()


def _frame(axes: Axes, n: int) -> None:
    axes.axhline(n - 0.5, color=QUIET, linewidth=1)
    axes.axvline(n - 0.5, color=QUIET, linewidth=1)
    axes.text(n, -0.8, "dummy", ha="center", fontsize=7)
    axes.text(n + 0.8, n, "dummy", va="center", fontsize=7)
    axes.set_axis_off()
