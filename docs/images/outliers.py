"""Balanced beside partial transport of points with outliers."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

import partialot
from colours import SOURCE, TARGET


def points() -> tuple[Tensor, Tensor]:
    """Two half rings that overlap in part; each has outliers that the other lacks."""
    generator = torch.Generator().manual_seed(3)
    angle = torch.linspace(0.1, 3.0, 22)
    ring = torch.stack([angle.cos(), angle.sin()], dim=-1)
    sources = torch.cat([ring, torch.tensor([[-1.9, 0.0], [-2.1, 0.3], [-1.8, 0.5]])])
    targets = torch.cat([1.25 * ring + torch.tensor([0.15, 0.1]), torch.tensor([[2.3, 1.0], [2.2, 0.6], [2.5, 0.8]])])
    sources, targets = (side + 0.04 * torch.randn(side.shape, generator=generator) for side in (sources, targets))
    return sources, targets


def draw_plan(axes: Axes, sources: Tensor, targets: Tensor, mass: float | None, title: str) -> None:
    """Draw both sides, and every pair that carries mass as a line as dark as what it carries."""
    cost = torch.cdist(sources, targets).square()
    plan = partialot.solve(cost.double(), mass=mass).plan.float()
    largest = plan.max().item()
    for i, j in (plan > 1e-6 * largest).nonzero().tolist():
        ends = torch.stack([sources[i], targets[j]])
        axes.plot(
            ends[:, 0], ends[:, 1], color="black", alpha=0.75 * plan[i, j].item() / largest, linewidth=1.1, zorder=1
        )
    for side, carried, colour in ((sources, plan.sum(1), SOURCE), (targets, plan.sum(0), TARGET)):
        used = carried > 0.5 * carried.max()
        axes.scatter(*side[used].T, s=26, color=colour, zorder=2)
        axes.scatter(*side[~used].T, s=26, facecolors="white", edgecolors=colour, zorder=2)
    axes.set_title(title, fontsize=11)
    axes.set_aspect("equal")
    axes.set_axis_off()


def draw() -> Figure:
    """Draw balanced beside partial transport of the same points."""
    figure = Figure(figsize=(9.0, 1.9), dpi=160, layout="constrained")
    left, right = figure.subplots(1, 2)
    sources, targets = points()
    draw_plan(left, sources, targets, None, "balanced: everything must move, outliers too")
    draw_plan(right, sources, targets, 0.7, "partial, mass 0.7: the cheapest part moves")
    return figure
