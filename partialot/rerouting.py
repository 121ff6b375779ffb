"""Plans led around forbidden pairs where filling the room that there is was not enough."""

from jaxtyping import Bool, Float
from torch import Tensor

from partialot.augmentation import add_dummy_nodes
from partialot.errors import InfeasibleProblemError
from partialot.problem import Problem
from partialot.solvers import ExactLP

_ROUNDING = 1e-12
"""Part of the mass that a plan may lack or have too much of."""


def reroute(
    problem: Problem,
    plan: Float[Tensor, "batch n m"],
    a: Float[Tensor, "batch n"],
    b: Float[Tensor, "batch m"],
    mass: Float[Tensor, " batch"],
) -> Bool[Tensor, " batch"]:
    """Replace the plans that do not move the mass by exact ones, where there are any.

    To make room, mass that is in the way has to go elsewhere, along paths of any length through the allowed pairs: the
    network simplex finds them, or proves that there are none, in the time of one exact solve; and the cheapest at that.

    Args:
        problem: What the plans belong to.
        plan: Rounded plans, written over where mass is missing.
        a: What each source has.
        b: What each target can take.
        mass: What is to be moved.

    Returns:
        Whether each plan now moves the mass.
    """
    feasible = (plan.sum((-2, -1)) - mass).abs() <= _ROUNDING * mass
    for index in [index for index, moves in enumerate(feasible) if not moves]:
        cost = problem.flat_cost(slice(None))[index].double()
        try:
            one = Problem.from_inputs(cost, a[index], b[index], mass=mass[index])
            found = ExactLP().run(add_dummy_nodes(one), None)
        except InfeasibleProblemError:
            continue
        assert found.plan is not None
        plan[index] = found.plan[0]
        feasible[index] = (found.moved[0] - mass[index]).abs() <= _ROUNDING * mass[index]
    return feasible
