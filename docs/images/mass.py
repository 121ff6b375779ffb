"""How the plan changes with the mass, and what the price of mass is."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import partialot
from colours import QUIET, SOURCE, TARGET
from hills import solve, weights

COUNT = 60
MASSES = (0.2, 0.5, 0.8, 1.0)


def draw_plans() -> Figure:
    """Draw what moves, and from where, at four masses."""
    figure = Figure(figsize=(9.0, 3.0), dpi=160, layout="constrained")
    rows = figure.subplots(2, len(MASSES), sharex=True, height_ratios=(1, 1.3))
    for mass, above, below in zip(MASSES, rows[0], rows[1], strict=True):
        solution = solve(COUNT, mass, None)
        _draw_marginals(above, solution)
        above.set_title(f"M = {mass}", fontsize=10)
        below.imshow(solution.plan > 1e-9, cmap="Greys", extent=(0, 1, 1, 0), aspect="auto", interpolation="none")
        below.set(xlabel="target", ylabel="source" if mass == MASSES[0] else "", yticks=[])
    return figure


def _draw_marginals(axes: Axes, solution: partialot.Solution) -> None:
    places, a, b = weights(COUNT)
    for sign, weight, moved, colour in ((1, a, solution.marginal_a, SOURCE), (-1, b, solution.marginal_b, TARGET)):
        axes.fill_between(places, sign * moved, color=colour, linewidth=0)
        axes.plot(places, sign * weight, color=colour, linewidth=0.8)
    axes.axhline(0, color=QUIET, linewidth=0.8)
    axes.set(xticks=[0, 1], yticks=[])


def draw_prices() -> Figure:
    """Draw the value as a function of the mass, and its slope, the price of mass, without `reg` and with."""
    figure = Figure(figsize=(9.0, 2.7), dpi=160, layout="constrained")
    left, right = figure.subplots(1, 2)
    masses = torch.linspace(0.02, 1.0, 50, dtype=torch.float64)
    for reg, colour, style in ((None, SOURCE, "-"), (0.003, TARGET, "-"), (0.02, TARGET, ":")):
        name = "without reg" if reg is None else f"reg = {reg}"
        solutions = solve(COUNT, masses, reg)
        left.plot(masses, solutions.value_linear, style, color=colour, label=name)
        # The slope at all there is stands for what no plan can do any more.
        inner = slice(None, -1)
        right.plot(masses[inner], solutions.mass_price[inner], style, color=colour, label=name)
    left.set(xlabel="mass M", title="cost of the plan, ⟨C, P⟩")
    right.set(xlabel="mass M", title="price of mass: what one more unit would cost", ylim=(-0.05, 0.4))
    left.legend(frameon=False)
    return figure
