"""What any potentials and any plan prove about the exact linear programme: an upper and a lower bound of its value."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.problem import Problem
from partialot.rounding import reroute, round_plan, round_plan_around

_BLOCK = 1 << 19
"""Prices evaluated at a time: they stay in cache, and nothing as large as the plan is made beside it."""


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
    g: Float[Tensor, "*batch m"],
    mass_price: Float[Tensor, "*batch"],
) -> Certificate:
    """Round a plan to a feasible one and potentials to dual feasible ones, in float64.

    Costs some passes over the prices and one copy of the plan. Where pairs are forbidden and an iterate is far from
    feasible, problems that need it are solved exactly on the CPU.

    Args:
        problem: What was to be solved.
        plan: Any nonnegative plan.
        f: Any potentials of the sources, in units of the cost.
        g: Any potentials of the targets; of no account, as f determines the best.
        mass_price: Any price of mass; of no account in balanced problems.
    """
    batch, (n, m) = problem.batch_shape, problem.size
    count = batch.numel()
    a, b = problem.a.double().reshape(count, n), problem.b.double().reshape(count, m)
    mass = torch.minimum(a.sum(-1), b.sum(-1))
    if problem.mass is not None:
        mass = torch.minimum(problem.mass.double().reshape(count), mass)
    rounded, feasible = _round(problem, plan.reshape(count, n, m).to(torch.float64, copy=True), a, b, mass)
    primal = torch.where(feasible, _priced(problem, rounded), torch.inf)
    if problem.mass is None:
        dual = _balanced_bound(problem, a, b, f.double().reshape(count, n))
    else:
        price = mass_price.double().reshape(count)
        dual = _partial_bound(problem, a, b, mass, f.double().reshape(count, n), price)
    # Bounds cross only by rounding.
    dual = torch.minimum(dual, primal)
    bounds = (bound.reshape(batch) for bound in (primal, dual, primal - dual))
    return Certificate(rounded.reshape(*batch, n, m), *bounds)


def _round(problem: Problem, plan: Tensor, a: Tensor, b: Tensor, mass: Tensor) -> tuple[Tensor, Tensor]:
    if not problem.forbids:
        return round_plan(plan, a, b, mass), torch.ones_like(mass, dtype=torch.bool)
    forbidden = problem.flat_cost(slice(None)) == torch.inf
    plan = round_plan_around(forbidden, plan, a, b, mass)
    return plan, reroute(problem, plan, a, b, mass)


def _row_blocks(problem: Problem) -> list[slice]:
    n, m = problem.size
    step = max(1, _BLOCK // max(1, m * problem.batch_shape.numel()))
    return [slice(begin, begin + step) for begin in range(0, n if m else 0, step)]


def _priced(problem: Problem, plan: Tensor) -> Tensor:
    total = plan.new_zeros(len(plan))
    for rows in _row_blocks(problem):
        cost = problem.flat_cost(rows).double()
        cost = cost.masked_fill(cost == torch.inf, 0.0) if problem.forbids else cost
        total += torch.einsum("bij,bij->b", plan[:, rows], cost)
    return total


def _balanced_bound(problem: Problem, a: Tensor, b: Tensor, f: Tensor) -> Tensor:
    """Two c-transforms: the largest g that f allows, then the largest f that this g allows."""
    g = _finite(_of_targets(problem, _taking_part(f, a)))
    f = _finite(_of_sources(problem, _taking_part(g, b)))
    return (a * f).sum(-1) + (b * g).sum(-1)


def _partial_bound(problem: Problem, a: Tensor, b: Tensor, mass: Tensor, f: Tensor, price: Tensor) -> Tensor:
    """C-transforms under f, g ≤ 0, then the largest price of mass that both allow."""
    shift = price.unsqueeze(-1)
    g = (_of_targets(problem, _taking_part(f.clamp(max=0.0), a)) - shift).clamp(max=0.0)
    free = _of_sources(problem, _taking_part(g, b))
    f = (free - shift).clamp(max=0.0)
    # The largest price is the least of cost − f − g, whose least over the targets is at hand.
    price = (free - _taking_part(f, a)).amin(-1) if f.shape[-1] else price
    return mass * _finite(price) + (a * f).sum(-1) + (b * g).sum(-1)


def _of_targets(problem: Problem, f: Tensor) -> Tensor:
    """Give the least of cost − f over the sources, `inf` where no pair is allowed."""
    least = f.new_full((len(f), problem.size[1]), torch.inf)
    for rows in _row_blocks(problem):
        torch.minimum(least, (problem.flat_cost(rows) - f[:, rows, None]).amin(1), out=least)
    return least


def _of_sources(problem: Problem, g: Tensor) -> Tensor:
    """Give the least of cost − g over the targets."""
    least = g.new_full((len(g), problem.size[0]), torch.inf)
    for rows in _row_blocks(problem):
        least[:, rows] = (problem.flat_cost(rows) - g[:, None]).amin(2)
    return least


def _taking_part(potentials: Tensor, weights: Tensor) -> Tensor:
    """Let the potentials of nodes of weight 0 bind nobody."""
    return torch.where(weights > 0, potentials, -torch.inf)


def _finite(potentials: Tensor) -> Tensor:
    return torch.where(potentials.isfinite(), potentials, 0.0)
