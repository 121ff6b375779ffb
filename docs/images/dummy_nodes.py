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
    figure = Figure(figsize=(9.0, 3.3), dpi=160, layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _draw_cost(left, bordered.cost)
    _draw_plan(middle, balanced.plan, bordered.a, bordered.b)
    _draw_plan(right, partial.plan, a, b)
    _draw_border(left)
    _draw_border(middle)
    for axes in (left, middle, right):
        axes.set(xlim=(-2, COUNT + 3.5), ylim=(COUNT + 3.5, -2))
        axes.set_axis_off()
    left.set_title("the cost, bordered by zeros", fontsize=9)
    middle.set_title("its balanced plan: all is moved", fontsize=9)
    right.set_title(f"the partial plan: {partial.mass.item():.1f} is moved", fontsize=9)
    return figure


def _draw_cost(axes: Axes, cost: Tensor) -> None:
    axes.imshow(cost.masked_fill(cost == torch.inf, torch.nan), cmap="viridis")
    axes.scatter(COUNT, COUNT, marker="x", color=TARGET)
    axes.text(COUNT - 0.8, COUNT, "forbidden", ha="right", va="center", color="white", fontsize=7)


def _draw_plan(axes: Axes, plan: Tensor, a: Tensor, b: Tensor) -> None:
    """Draw a plan, and beside it each node, filled by the share of it that is moved."""
    axes.imshow(plan, cmap=CARRIED, norm=PowerNorm(0.4, vmin=0, vmax=float(plan.max())))
    given, taken = (plan.sum(1) / a).clamp(max=1), (plan.sum(0) / b).clamp(max=1)
    for share, colour in ((given, SOURCE), (taken, TARGET)):
        along, beside = torch.arange(len(share)), torch.full_like(share, -1.2)
        x, y = (beside, along) if share is given else (along, beside)
        axes.scatter(x, y, s=26, edgecolors=colour, facecolors="white")
        axes.scatter(x, y, s=26 * share, color=colour, linewidths=0)


def _draw_border(axes: Axes) -> None:
    edge, ends = [COUNT - 0.5, COUNT - 0.5], [-0.5, COUNT + 0.5]
    axes.plot(edge, ends, color=QUIET, linewidth=1)
    axes.plot(ends, edge, color=QUIET, linewidth=1)
    axes.text(COUNT + 0.8, COUNT, "dummy", va="center", fontsize=7)
    axes.text(COUNT, COUNT + 0.8, "dummy", ha="center", va="top", fontsize=7, rotation=90)
