"""Feasible plans near given ones: scaled down, and topped up where there is room."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_REPAIRS = 10
"""Most rounds of repair around forbidden pairs; each fills the pairs that are allowed within the room at both ends."""


def round_plan(
    plan: Float[Tensor, "batch n m"],
    a: Float[Tensor, "batch n"],
    b: Float[Tensor, "batch m"],
    mass: Float[Tensor, " batch"],
) -> Float[Tensor, "batch n m"]:
    """Move a plan to one that is feasible, by as little as it violates the constraints; writes over the plan.

    Args:
        plan: Any nonnegative plan, float64.
        a: What each source has.
        b: What each target can take.
        mass: What is to be moved.

    References:
        Altschuler, Weed and Rigollet (2017) for balanced rounding; the partial form keeps the dummies' share apart, so
        that no mass enters their corner (arXiv 2312.13970).
    """
    short_a, short_b = _fit(plan, a, b, mass)
    lacking = torch.maximum(short_a.sum(-1), short_b.sum(-1))[:, None, None]
    return plan.baddbmm_(_ratio(short_a.unsqueeze(-1), lacking), short_b.unsqueeze(-2))


def round_plan_around(
    forbidden: Bool[Tensor, "batch n m"],
    plan: Float[Tensor, "batch n m"],
    a: Float[Tensor, "batch n"],
    b: Float[Tensor, "batch m"],
    mass: Float[Tensor, " batch"],
) -> Float[Tensor, "batch n m"]:
    """Do the same where pairs are forbidden; some mass may be left that has no room without rerouting the rest."""
    plan.masked_fill_(forbidden, 0.0)
    _fit(plan, a, b, mass)
    before = torch.full_like(mass, torch.inf)
    for _ in range(_REPAIRS):
        missing = (mass - plan.sum((-2, -1))).clamp(min=0)
        if not bool(((missing > 0) & (missing < 0.9 * before)).any()):
            break
        before = missing
        # Whoever has room may help: the nodes that are short may have no allowed pair left among themselves.
        room_a, room_b = (a - plan.sum(-1)).clamp(min=0), (b - plan.sum(-2)).clamp(min=0)
        extra = (room_a.unsqueeze(-1) * room_b.unsqueeze(-2)).masked_fill_(forbidden, 0.0)
        over_a, over_b = _ratio(extra.sum(-1), room_a), _ratio(extra.sum(-2), room_b)
        extra = _ratio(extra, torch.maximum(over_a.unsqueeze(-1), over_b.unsqueeze(-2)))
        plan += extra.mul_(_ratio(missing, extra.sum((-2, -1))).clamp(max=1.0)[:, None, None])
    return plan


def _fit(plan: Tensor, a: Tensor, b: Tensor, mass: Tensor) -> tuple[Tensor, Tensor]:
    """Scale rows and columns down to what they are to send and take; give what they then lack."""
    sent = plan.sum(-1)
    kept_a, kept_b = _keep(sent, a, mass), _keep(plan.sum(-2), b, mass)
    plan.mul_(_ratio(kept_a, sent).clamp(max=1.0).unsqueeze(-1))
    plan.mul_(_ratio(kept_b, plan.sum(-2)).clamp(max=1.0).unsqueeze(-2))
    return (kept_a - plan.sum(-1)).clamp(min=0), (kept_b - plan.sum(-2)).clamp(min=0)


def _keep(sent: Tensor, weights: Tensor, mass: Tensor) -> Tensor:
    """Choose how much each node sends: near what it does, at most its weight, exactly `mass` in all."""
    kept = torch.minimum(sent, weights)
    kept = kept * _ratio(mass, kept.sum(-1)).clamp(max=1.0).unsqueeze(-1)
    room = weights - kept
    missing = (mass - kept.sum(-1)).clamp(min=0)
    return torch.minimum(kept + room * _ratio(missing, room.sum(-1)).unsqueeze(-1), weights)


def _ratio(top: Tensor, bottom: Tensor) -> Tensor:
    return torch.where(bottom > 0, top / torch.where(bottom > 0, bottom, 1.0), 0.0)
