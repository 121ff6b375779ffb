"""What any potentials and any plan prove about the exact linear programme: an upper and a lower bound of its value."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.problem import Problem

_REPAIRS = 100
"""Most rounds of repair around forbidden pairs; each fills the pairs that are allowed within the room at both ends."""


@dataclass(frozen=True, eq=False)
class Certificate:
    """A feasible plan and two bounds that bracket the exact optimum, valid at any iterate; all in float64.

    Attributes:
        plan: A plan that respects both weights and every forbidden pair and moves exactly the mass.
        primal: Its cost, an upper bound of the linear programme's value; `inf` where rounding around forbidden pairs
            found no feasible plan (`plan` then lacks some mass).
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

    Args:
        problem: What was to be solved.
        plan: Any nonnegative plan.
        f: Any potentials of the sources, in units of the cost.
        g: Any potentials of the targets.
        mass_price: Any price of mass; of no account in balanced problems.

    References:
        Altschuler, Weed and Rigollet (2017) for balanced rounding; the partial form keeps the dummies' share apart, so
        that no mass enters their corner (arXiv 2312.13970).
    """
    cost = problem.cost().double()
    a, b = problem.a.double(), problem.b.double()
    taking = (a > 0).unsqueeze(-1) & (b > 0).unsqueeze(-2) & (cost < torch.inf)
    available = torch.minimum(a.sum(-1), b.sum(-1))
    mass = available if problem.mass is None else torch.minimum(problem.mass.double(), available)
    rounded = round_plan(plan.double() * taking, a, b, mass, taking)
    moved = rounded.sum((-2, -1))
    primal = (rounded * cost.masked_fill(~taking, 0.0)).sum((-2, -1))
    missing = (moved - mass).abs() > 1e-12 * mass
    primal = torch.where(missing, torch.inf, primal)
    priced = cost.masked_fill(~taking, torch.inf)
    if problem.mass is None:
        dual = _balanced_bound(priced, a, b, f.double())
    else:
        dual = _partial_bound(priced, a, b, mass, f.double(), mass_price.double())
    # Bounds cross only by rounding.
    dual = torch.minimum(dual, primal)
    return Certificate(rounded, primal, dual, primal - dual)


def round_plan(plan: Tensor, a: Tensor, b: Tensor, mass: Tensor, allowed: Tensor) -> Tensor:
    """Move a plan to one that is feasible, by as little as it violates the constraints; see `certify`."""
    kept_a, kept_b = _keep(plan.sum(-1), a, mass), _keep(plan.sum(-2), b, mass)
    plan = plan * _ratio(kept_a, plan.sum(-1)).clamp(max=1.0).unsqueeze(-1)
    plan = plan * _ratio(kept_b, plan.sum(-2)).clamp(max=1.0).unsqueeze(-2)
    if bool(allowed.all()):
        short_a, short_b = kept_a - plan.sum(-1), kept_b - plan.sum(-2)
        return plan + _fill(short_a.clamp(min=0), short_b.clamp(min=0), allowed)
    before = torch.full_like(mass, torch.inf)
    for _ in range(_REPAIRS):
        missing = (mass - plan.sum((-2, -1))).clamp(min=0)
        if not bool(((missing > 0) & (missing < 0.9 * before)).any()):
            break
        before = missing
        # Whoever has room may help: the nodes that are short may have no allowed pair left among themselves.
        room_a, room_b = (a - plan.sum(-1)).clamp(min=0), (b - plan.sum(-2)).clamp(min=0)
        extra = _fill(room_a, room_b, allowed)
        plan = plan + extra * _ratio(missing, extra.sum((-2, -1))).clamp(max=1.0)[..., None, None]
    return plan


def _fill(room_a: Tensor, room_b: Tensor, allowed: Tensor) -> Tensor:
    """Add mass over the allowed pairs, in proportion to the room at both ends and within it."""
    extra = room_a.unsqueeze(-1) * room_b.unsqueeze(-2) * allowed
    over_a, over_b = _ratio(extra.sum(-1), room_a), _ratio(extra.sum(-2), room_b)
    return _ratio(extra, torch.maximum(over_a.unsqueeze(-1), over_b.unsqueeze(-2)))


def _keep(sent: Tensor, weights: Tensor, mass: Tensor) -> Tensor:
    """Choose how much each node sends: near what it does, at most its weight, exactly `mass` in all."""
    kept = torch.minimum(sent, weights)
    kept = kept * _ratio(mass, kept.sum(-1)).clamp(max=1.0).unsqueeze(-1)
    room = weights - kept
    missing = (mass - kept.sum(-1)).clamp(min=0)
    return torch.minimum(kept + room * _ratio(missing, room.sum(-1)).unsqueeze(-1), weights)


def _ratio(top: Tensor, bottom: Tensor) -> Tensor:
    return torch.where(bottom > 0, top / torch.where(bottom > 0, bottom, 1.0), 0.0)


def _balanced_bound(cost: Tensor, a: Tensor, b: Tensor, f: Tensor) -> Tensor:
    """Two c-transforms: the largest g that f allows, then the largest f that this g allows."""
    g = _transform((cost - f.unsqueeze(-1)).mT, torch.inf)
    f = _transform(cost - g.unsqueeze(-2), torch.inf)
    return (a * f).sum(-1) + (b * g).sum(-1)


def _partial_bound(cost: Tensor, a: Tensor, b: Tensor, mass: Tensor, f: Tensor, price: Tensor) -> Tensor:
    """C-transforms under f, g ≤ 0, then the largest price of mass that both allow."""
    reduced = cost - price[..., None, None]
    f = f.clamp(max=0.0)
    g = _transform((reduced - f.unsqueeze(-1)).mT, 0.0)
    f = _transform(reduced - g.unsqueeze(-2), 0.0)
    free = cost - f.unsqueeze(-1) - g.unsqueeze(-2)
    price = free.amin((-2, -1)) if cost.numel() else price
    price = torch.where(price.isfinite(), price, 0.0)
    return mass * price + (a * f).sum(-1) + (b * g).sum(-1)


def _transform(slack_to: Tensor, most: float) -> Tensor:
    """Give the smallest entry of each row, at most `most`; 0 for a row without an allowed pair."""
    least = slack_to.amin(-1) if slack_to.shape[-1] else slack_to.new_full(slack_to.shape[:-1], torch.inf)
    least = least.clamp(max=most)
    return torch.where(least.isfinite(), least, 0.0)
