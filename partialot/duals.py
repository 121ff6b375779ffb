"""Potentials in the user's units: brought out for the answer and its gradients, and taken in for a warm start."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.augmentation import AT_CEILING, BorderedProblem
from partialot.potentials import RealPotentials


@dataclass(frozen=True, eq=False)
class Duals:
    """Potentials in units of the cost, and the derivatives they are.

    Attributes:
        of_a: ∂value/∂a, f + g_d; also the potentials of the sources.
        of_b: ∂value/∂b, g + f_d.
        g: The potentials of the targets that go with `of_a`.
        of_mass: ∂value/∂mass, −(f_d + g_d); 0 where mass is no input.
        mass_price: The same, or the value per unit of mass where mass is no input.
    """

    of_a: Float[Tensor, "batch n"]
    of_b: Float[Tensor, "batch m"]
    g: Float[Tensor, "batch m"]
    of_mass: Float[Tensor, " batch"]
    mass_price: Float[Tensor, " batch"]


def restrict_potentials(bordered: BorderedProblem, potentials: RealPotentials) -> Duals:
    """Bring potentials to the user's units.

    Balanced problems leave one constant free: they are centred, so that both sides have the same weighted mean; then
    each sums to half the value.
    """
    problem = bordered.problem
    scale, shift = bordered.scale.unsqueeze(-1), bordered.shift.unsqueeze(-1)
    if problem.formulation == "capped":
        potentials = _relative_to_nothing(bordered, potentials)
    of_a, of_b, price = potentials.f * scale, potentials.g * scale, shift + potentials.mass * scale
    if problem.price is not None:
        nothing = torch.zeros_like(price.squeeze(-1))
        return Duals(of_a, of_b, of_b + price, nothing, problem.price.double().reshape(nothing.shape))
    if problem.mass is not None:
        return Duals(of_a, of_b, of_b + price, price.squeeze(-1), price.squeeze(-1))
    mean_a = problem.ranks.sum((bordered.a[:, :-1] * of_a).sum(-1, keepdim=True))
    mean_b = (bordered.b[:, :-1] * of_b).sum(-1, keepdim=True)
    unit = mean_a + mean_b + price
    of_a, of_b = of_a - mean_a + unit / 2, of_b - mean_b + unit / 2
    return Duals(of_a, of_b, of_b, torch.zeros_like(unit.squeeze(-1)), unit.squeeze(-1))


def _relative_to_nothing(bordered: BorderedProblem, potentials: RealPotentials) -> RealPotentials:
    """Give capped potentials without the weights: total · exp(f_i + g_j + mass − cost_ij) is the plan.

    A node that keeps something has exactly 0. One of weight 0 has the limit −∞, and a large finite one is given.
    """
    least = torch.finfo(torch.float64).tiny
    f, g = (
        part + side[:, :-1].clamp(min=least).log()
        for part, side in ((potentials.f, bordered.a), (potentials.g, bordered.b))
    )
    f, g = (torch.where(part < -AT_CEILING, part, 0.0) for part in (f, g))
    return RealPotentials(f, g, potentials.mass + bordered.total.log().unsqueeze(-1))


def to_user_units(
    bordered: BorderedProblem, f: Float[Tensor, "batch sources"], g: Float[Tensor, "batch targets"]
) -> tuple[Float[Tensor, "batch sources"], Float[Tensor, "batch targets"]]:
    """Give potentials of the bordered problem in units of the cost; the shift goes to the real sources."""
    scale, shift = (x.to(f.dtype).unsqueeze(-1) for x in (bordered.scale.detach(), bordered.shift))
    f, g = f * scale, g * scale
    return torch.cat((f[:, :-1] + shift, f[:, -1:]), dim=-1), torch.cat((g[:, :-1], g[:, -1:] - shift), dim=-1)


def from_user_units(
    bordered: BorderedProblem, f: Float[Tensor, "batch sources"], g: Float[Tensor, "batch targets"]
) -> tuple[Float[Tensor, "batch sources"], Float[Tensor, "batch targets"]]:
    """Undo `to_user_units`, for the scale and shift of this problem."""
    scale, shift = (x.to(f.dtype).unsqueeze(-1) for x in (bordered.scale.detach(), bordered.shift))
    f, g = torch.cat((f[:, :-1] - shift, f[:, -1:]), dim=-1), torch.cat((g[:, :-1], g[:, -1:] + shift), dim=-1)
    return f / scale, g / scale
