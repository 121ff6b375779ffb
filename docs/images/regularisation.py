"""What the regularisation does to a plan."""

from matplotlib.figure import Figure

from colours import CARRIED
from hills import solve

COUNT, MASS = 60, 0.7
REGULARISATIONS = (None, 0.001, 0.01, 0.1)


def draw() -> Figure:
    """Draw plans of one mass from the linear programme to a wide spread."""
    figure = Figure(figsize=(9.0, 2.9), dpi=160, layout="constrained")
    for reg, axes in zip(REGULARISATIONS, figure.subplots(1, len(REGULARISATIONS)), strict=True):
        solution = solve(COUNT, MASS, reg)
        plan = solution.plan
        axes.imshow(plan, cmap=CARRIED, vmax=plan.quantile(0.995), extent=(0, 1, 1, 0), interpolation="none")
        name = "reg = None" if reg is None else f"reg = {reg}"
        axes.set_title(f"{name}\n⟨C, P⟩ = {solution.value_linear.item():.4f}", fontsize=9)
        axes.set(xticks=[], yticks=[])
        axes.set_xlabel("target")
    return figure
