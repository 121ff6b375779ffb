"""What a plan and potentials of a flat batch prove about its linear programmes."""

from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from partialot.augmentation import BorderedProblem
from partialot.bounds import DualBound, dual_bound, priced, transported_mass
from partialot.geometry import DenseCost
from partialot.problem import Problem
from partialot.rounding import round_plan, round_plan_around
from partialot.solvers.base import SolverResult

_MISSING = 1e-12
"""Part of the mass that a rounded plan may lack."""


class Proof(NamedTuple):
    """A plan, potentials, and what they cost; all in the user's units and float64.

    Attributes:
        plan: (batch, n, m), within the weights, forbidden pairs empty.
        primal: (batch,), its cost; inf where it does not move the mass.
        f: (batch, n + 1), feasible potentials of the sources, as `SolverResult` holds them.
        g: (batch, m + 1), likewise of the targets.
        dual: (batch,), the bound that they prove.
        spread: (batch,), what the plan, before it was rounded, paid above the potentials: the part of the gap that is
            not rounding's.
    """

    plan: Tensor
    primal: Tensor
    f: Tensor
    g: Tensor
    dual: Tensor
    spread: Tensor


def prove(problem: Problem, level: BorderedProblem, swept: SolverResult, span: Float[Tensor, " batch"]) -> Proof:
    """Round what sweeps found to a feasible plan and feasible potentials.

    Args:
        problem: A flat batch.
        level: The entropic problem that was swept, its prices those of `problem` less the lowest, over `span`.
        swept: What it led to.
        span: The unit of those prices.
    """
    assert swept.plan is not None
    potentials, scale = level.real_potentials(swept.f, swept.g), (level.scale * span).unsqueeze(-1)
    price = problem.lowest + (potentials.mass * scale).squeeze(-1)
    bound = dual_bound(problem, potentials.f * scale, price)
    plan = swept.plan.to(torch.float64, copy=True)
    spread = _spread(problem, plan, bound)
    mass = transported_mass(problem)
    rounded = problem, plan, problem.a.double(), problem.b.double(), mass
    if problem.forbids:
        plan = round_plan_around(problem.flat_cost(slice(None)) == torch.inf, *rounded[1:])
    else:
        plan = round_plan(*rounded[1:])
    complete = (plan.sum((-2, -1)) - mass).abs() <= _MISSING * mass
    primal = torch.where(complete, priced(problem, plan), torch.inf)
    # Bounds cross only by rounding.
    return Proof(plan, primal, *_bordered(problem, bound), torch.minimum(bound.value, primal), spread)


def _spread(problem: Problem, plan: Tensor, bound: DualBound) -> Tensor:
    """Sum what is paid above the potentials, and what is left where they say that nothing should be."""
    sent, taken = plan.sum(-1), plan.sum(-2)
    paid = priced(problem, plan) - bound.price * sent.sum(-1)
    paid = paid - (bound.f * sent).sum(-1) - (bound.g * taken).sum(-1)
    if problem.mass is not None:
        paid = paid - (bound.f * (problem.a - sent).clamp(min=0)).sum(-1)
        paid = paid - (bound.g * (problem.b - taken).clamp(min=0)).sum(-1)
    return paid.clamp(min=0)


def _bordered(problem: Problem, bound: DualBound) -> tuple[Tensor, Tensor]:
    """Give potentials with their border's, in the gauge in which the dummy target's is minus the price."""
    shift = problem.lowest.unsqueeze(-1)
    if problem.mass is None:
        nothing = torch.zeros_like(shift)
        return torch.cat((bound.f - shift, nothing), dim=-1), torch.cat((bound.g, nothing), dim=-1)
    price = bound.price.unsqueeze(-1) - shift
    return torch.cat((bound.f, -price), dim=-1), torch.cat((bound.g + price, torch.zeros_like(price)), dim=-1)


def flatten(problem: Problem) -> Problem:
    """Give the same problems as one flat batch with stored prices, without a graph."""
    count, (n, m) = problem.batch_shape.numel(), problem.size
    return replace(
        problem,
        geometry=DenseCost(problem.flat_cost(slice(None)).detach()),
        a=problem.a.detach().reshape(count, n),
        b=problem.b.detach().reshape(count, m),
        mass=None if problem.mass is None else problem.mass.detach().reshape(count),
        lowest=problem.lowest.reshape(count),
        highest=problem.highest.reshape(count),
    )


def select(problem: Problem, chosen: Int[Tensor, " chosen"]) -> Problem:
    """Give some problems of a flat batch, in their order."""
    if len(chosen) == len(problem.a):
        return problem
    return replace(
        problem,
        geometry=DenseCost(problem.flat_cost(slice(None))[chosen]),
        a=problem.a[chosen],
        b=problem.b[chosen],
        mass=None if problem.mass is None else problem.mass[chosen],
        lowest=problem.lowest[chosen],
        highest=problem.highest[chosen],
    )
