"""What a certificate brackets: the optimum of the linear programme, from any iterate."""

import warnings

from matplotlib.axes import Axes
from matplotlib.figure import Figure

import partialot
from colours import QUIET, SOURCE, TARGET
from hills import solve

COUNT, MASS = 60, 0.9
SWEEPS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


def draw() -> Figure:
    """Draw both bounds by the number of sweeps, for a large and a small regularisation."""
    figure = Figure(figsize=(9.0, 2.8), dpi=160, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _draw_bounds(left, 0.02)
    _draw_bounds(right, 0.002)
    left.set_ylabel("⟨C, P⟩")
    left.legend(frameon=False)
    return figure


def _draw_bounds(axes: Axes, reg: float) -> None:
    found = [_certify(reg, count) for count in SWEEPS]
    upper, lower = ([float(getattr(one, name)) for one in found] for name in ("primal", "dual"))
    axes.fill_between(SWEEPS, lower, upper, color=QUIET, alpha=0.3, linewidth=0)
    axes.plot(SWEEPS, upper, "o-", color=SOURCE, markersize=3, label="primal: a feasible plan's cost")
    axes.plot(SWEEPS, lower, "o-", color=TARGET, markersize=3, label="dual: no plan is cheaper")
    axes.axhline(solve(COUNT, MASS, None).value.item(), color="black", linewidth=0.8, label="the exact optimum")
    axes.set(xscale="log", xlabel="sweeps", title=f"reg = {reg}")


def _certify(reg: float, sweeps: int) -> partialot.Certificate:
    with warnings.catch_warnings():
        # Most of these solves are stopped on purpose.
        warnings.simplefilter("ignore", partialot.ConvergenceWarning)
        return solve(COUNT, MASS, reg, partialot.Sinkhorn(max_iter=sweeps)).certificate()
