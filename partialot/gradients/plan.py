"""The plan as a function of potentials and weights, with a backward pass of two reads and one write."""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from partialot.augmentation import BorderedProblem, RealPotentials
from partialot.kernels.reference import bounded_exp


def attach_plan(
    bordered: BorderedProblem, plan: Float[Tensor, "batch n m"], potentials: RealPotentials
) -> Float[Tensor, "batch n m"]:
    """Give a plan the graph of total · a_i b_j · exp(f_i + g_j + mass − (cost_ij − shift) / scale), which it equals.

    Args:
        bordered: The problem.
        plan: The plan's numbers, in the user's units.
        potentials: With whatever graph they have.
    """
    cost = bordered.problem.flat_cost(slice(None))
    inputs = (*potentials, bordered.a, bordered.b, bordered.total, bordered.scale, cost)
    return cast(Tensor, _Plan.apply(bordered, plan, *inputs))  # pyright: ignore[reportUnknownMemberType]


class _Plan(torch.autograd.Function):
    """A plan that knows what it was computed from."""

    @staticmethod
    def forward(ctx: Any, bordered: BorderedProblem, plan: Tensor, *inputs: Tensor) -> Tensor:
        ctx.bordered = bordered
        ctx.save_for_backward(plan, *inputs[:-1])
        return plan.view_as(plan)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - `once_differentiable` has no types
        ctx: Any, upstream: Tensor
    ) -> tuple[Tensor | None, ...]:
        plan, f, g, level, a, b, total, scale = ctx.saved_tensors
        bordered: BorderedProblem = ctx.bordered
        flowing = upstream * plan
        rows, columns = flowing.sum(-1).double(), flowing.sum(-2).double()
        whole = rows.sum(-1)
        of_a = of_b = of_scale = of_cost = None
        if ctx.needs_input_grad[5]:
            of_a = _per_weight(rows, a) + _of_empty_sources(bordered, RealPotentials(f, g, level), upstream)
        if ctx.needs_input_grad[6]:
            of_b = _per_weight(columns, b) + _of_empty_targets(bordered, RealPotentials(f, g, level), upstream)
        if ctx.needs_input_grad[8]:
            of_scale = bordered.spent(flowing, slice(None)) / scale
        if ctx.needs_input_grad[9]:
            of_cost = flowing.mul_(-1 / scale.to(flowing.dtype)[:, None, None])
        return None, None, rows, columns, whole.unsqueeze(-1), of_a, of_b, whole / total, of_scale, of_cost


def _per_weight(sums: Tensor, weights: Tensor) -> Tensor:
    """Divide by the weights, 0 at those of 0; the border's entry is 0."""
    real = weights[:, :-1]
    quotient = torch.where(real > 0, sums / torch.where(real > 0, real, 1.0), 0.0)
    return torch.nn.functional.pad(quotient, (0, 1))


def _of_empty_sources(bordered: BorderedProblem, potentials: RealPotentials, upstream: Tensor) -> Tensor:
    """Give Σ_j total · b_j · density_ij · upstream_ij at sources of weight 0: a one-sided derivative."""
    found = torch.zeros_like(bordered.a)
    for problem, node in _places(bordered.a[:, :-1] <= 0):
        prices = bordered.prices(slice(node, node + 1))
        exponent = potentials.f[problem, node] + potentials.g[problem] + potentials.mass[problem]
        exponent = exponent - (prices.cost[problem, 0].double() - prices.shift[problem]) * prices.unit[problem]
        terms = bounded_exp(exponent) * bordered.b[problem, :-1] * upstream[problem, node]
        found[problem, node] = terms.sum() * bordered.total[problem]
    return found.detach()


def _of_empty_targets(bordered: BorderedProblem, potentials: RealPotentials, upstream: Tensor) -> Tensor:
    """The same for targets."""
    found = torch.zeros_like(bordered.b)
    for problem, node in _places(bordered.b[:, :-1] <= 0):
        prices = bordered.prices(slice(None))
        exponent = potentials.f[problem] + potentials.g[problem, node] + potentials.mass[problem]
        exponent = exponent - (prices.cost[problem, :, node].double() - prices.shift[problem]) * prices.unit[problem]
        terms = bounded_exp(exponent) * bordered.a[problem, :-1] * upstream[problem, :, node]
        found[problem, node] = terms.sum() * bordered.total[problem]
    return found.detach()


def _places(chosen: Tensor) -> list[tuple[int, int]]:
    return [(int(problem), int(node)) for problem, node in chosen.nonzero()]
