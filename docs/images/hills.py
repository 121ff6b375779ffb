"""The example of the figures: hills on a line, one of which only the targets have."""

import torch
from torch import Tensor

import partialot


def hill(places: Tensor, centre: float, width: float) -> Tensor:
    """Give the density of one hill."""
    return torch.exp(-((places - centre) ** 2) / (2 * width**2))


def weights(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Give places in [0, 1], and two densities over them of total 1.

    Both have a hill at the left and one in the middle, somewhat moved; sources have more at the left, and only targets
    have a hill at the far right.
    """
    places = torch.linspace(0, 1, count, dtype=torch.float64)
    sources = 0.9 * hill(places, 0.15, 0.05) + 0.8 * hill(places, 0.5, 0.06)
    targets = 0.5 * hill(places, 0.2, 0.05) + 0.8 * hill(places, 0.55, 0.06) + 0.5 * hill(places, 0.92, 0.04)
    return places, sources / sources.sum(), targets / targets.sum()


def solve(
    count: int, mass: float | Tensor, reg: float | None, solver: partialot.Sinkhorn | None = None
) -> partialot.Solution:
    """Solve the example at the squared distance, for one mass or for many at once."""
    places, a, b = weights(count)
    cost = (places[:, None] - places).square()
    return partialot.solve(cost, a, b, mass=mass, reg=reg, solver=solver)
