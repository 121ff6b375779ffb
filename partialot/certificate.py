"""What any potentials and any plan prove about the exact linear programme: an upper and a lower bound of its value."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.bounds import dual_bound, priced, transported_mass
from partialot.problem import Problem
from partialot.rerouting import reroute
from partialot.rounding import round_plan, round_plan_around


@dataclass(frozen=True, eq=False)
class Certificate:
    """A feasible plan and two bounds that bracket the exact optimum, valid at any iterate; all in float64.

    Attributes:
        plan: A plan that respects both weights and every forbidden pair and moves exactly the mass. It is near the
            iterate's, except where mass must be rerouted around forbidden pairs: there it is an optimal one.
        primal: Its cost, an upper bound of the linear programme's value; `inf` only where no plan is feasible, since
            the allowed pairs cannot carry the mass (`plan` then lacks some of it).
        dual: A lower bound.
        gap: `primal` − `dual`, at least 0; how far the plan can be from the best.
    """

    plan: Float[Tensor, "*batch n m"]
    primal: Float[Tensor, "*batch"]
    dual: Float[Tensor, "*batch"]
    gap: Float[Tensor, "*batch"]


@torch.no_grad()
def certify(
    problem: Problem,
    plan: Float[Tensor, "*batch n m"],
    f: Float[Tensor, "*batch n"],
    mass_price: Float[Tensor, "*batch"],
) -> Certificate:
    """Round a plan to a feasible one and potentials to dual feasible ones, in float64.

    Costs some passes over the prices and one copy of the plan. Where pairs are forbidden and an iterate is far from
    feasible, problems that need it are solved exactly on the CPU.

    Args:
        problem: What was to be solved.
        plan: Any nonnegative plan.
        f: Any potentials of the sources, in units of the cost; the best ones of the targets follow from them.
        mass_price: Any price of mass; of no account in balanced problems.
    """
    batch, (n, m) = problem.batch_shape, problem.size
    count = batch.numel()
    a, b = problem.a.double().reshape(count, n), problem.b.double().reshape(count, m)
    mass = transported_mass(problem)
    if problem.price is not None:
        mass = torch.minimum(plan.double().sum((-2, -1)).reshape(count), mass)
    rounded, feasible = _round(problem, plan.reshape(count, n, m).to(torch.float64, copy=True), a, b, mass)
    primal = torch.where(feasible, priced(problem, rounded), torch.inf)
    if problem.price is not None:
        primal = primal - problem.price.double().reshape(count) * rounded.sum((-2, -1))
    # Bounds cross only by rounding.
    dual = torch.minimum(dual_bound(problem, f.reshape(count, n), mass_price.reshape(count)).value, primal)
    bounds = (bound.reshape(batch) for bound in (primal, dual, primal - dual))
    return Certificate(rounded.reshape(*batch, n, m), *bounds)


def _round(problem: Problem, plan: Tensor, a: Tensor, b: Tensor, mass: Tensor) -> tuple[Tensor, Tensor]:
    if not problem.forbids:
        return round_plan(plan, a, b, mass), torch.ones_like(mass, dtype=torch.bool)
    forbidden = problem.flat_cost(slice(None)) == torch.inf
    plan = round_plan_around(forbidden, plan, a, b, mass)
    if problem.price is not None:
        # Less is feasible too.
        return plan, torch.ones_like(mass, dtype=torch.bool)
    return plan, reroute(problem, plan, a, b, mass)
