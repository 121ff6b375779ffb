"""Rows of a plan relative to its weights, evaluated from potentials, and their derivatives."""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.augmentation import BorderedProblem
from partialot.clouds import CloudKernel
from partialot.gradients.once import once
from partialot.inputs import working_type
from partialot.kernels import dispatch
from partialot.kernels.primitives import Entries, Prices, Source
from partialot.potentials import RealPotentials
from partialot.problem import Problem


def density(
    problem: Problem, cost: Float[Tensor, "flat rows m"], f: Float[Tensor, "*batch rows"], g: Float[Tensor, "*batch m"]
) -> Float[Tensor, "*batch rows m"]:
    """Give exp((f_i + g_j − cost_ij) / reg) of some sources, in the working type.

    Where no graph is recorded, the next block is written over this one.

    Args:
        problem: With a `reg`.
        cost: The prices of these sources, as `Problem.flat_cost` gives them.
        f: Their potentials in units of the cost, float64, with whatever graph they have.
        g: Likewise of all targets.
    """
    assert problem.reg is not None
    count = problem.batch_shape.numel()
    reg, shift = problem.reg.double().reshape(count), problem.lowest.reshape(count)
    place = None if torch.is_grad_enabled() else problem.rooms[1]
    inputs = f.reshape(count, f.shape[-1]), g.reshape(count, g.shape[-1]), reg, shift, cost, place
    block = cast(Tensor, _Density.apply(*inputs))  # pyright: ignore[reportUnknownMemberType]
    return block.reshape(*problem.batch_shape, *block.shape[-2:])


@torch.no_grad()
def lazy_plan(bordered: BorderedProblem, potentials: RealPotentials, rows: slice) -> Float[Tensor, "batch rows m"]:
    """Give some rows of the plan in the user's units, without a graph."""
    block = bordered.density(RealPotentials(*(part.detach() for part in potentials)), rows)
    weights = (bordered.a[:, :-1][:, rows] * bordered.total.unsqueeze(-1)).to(block.dtype)
    return block.mul_(weights.unsqueeze(-1)).mul_(bordered.b[:, None, :-1].to(block.dtype))


def pull_back(
    bordered: BorderedProblem, rows: slice, of_cost: Float[Tensor, "batch rows m"], before: tuple[Tensor, ...] | None
) -> tuple[Tensor, ...]:
    """Carry derivatives by the prices of some sources to what the prices are a function of, and add `before`.

    A stored matrix is itself what they are a function of.
    """
    problem, geometry = bordered.problem, bordered.problem.geometry
    if not geometry.is_lazy:
        return (of_cost,)
    # In float64: as many blocks are added up as there are sources, near enough.
    sums = before or tuple(torch.zeros_like(tensor, dtype=torch.float64) for tensor in geometry.tensors)
    with torch.enable_grad():
        parts = (tensor.detach() for tensor in geometry.part(rows).tensors)
        leaves = tuple(part.to(working_type(part.dtype)).requires_grad_() for part in parts)
        block = problem.on(geometry.part(rows).replace(*leaves)).flat_cost(slice(None))
        found = torch.autograd.grad(block, leaves, of_cost, allow_unused=True, materialize_grads=True)
    for home, new in zip(geometry.replace(*sums).part(rows).tensors, found, strict=True):
        home.add_(new)
    return sums


def on_the_way(bordered: BorderedProblem, potentials: RealPotentials) -> CloudKernel | None:
    """Give the plan relative to the product of the weights, for products; None where it is evaluated by blocks."""
    f, g, level = (part.detach() for part in potentials)
    return CloudKernel.of(bordered.problem, f, g + level, 1 / bordered.scale.detach(), bordered.shift)


class _Density(torch.autograd.Function):
    """exp((f_i + g_j − cost_ij) / reg); the shift is taken off both sides, which saves digits."""

    @staticmethod
    def forward(
        ctx: Any, f: Tensor, g: Tensor, reg: Tensor, shift: Tensor, cost: Tensor, place: Tensor | None
    ) -> Tensor:
        prices = Prices(cost, 1 / reg, shift)
        source = torch.full((cost.shape[0],), int(Source.COST), dtype=torch.int8, device=cost.device)
        if place is None or place.numel() < cost.numel():
            place = torch.empty(cost.numel(), dtype=cost.dtype, device=cost.device)
        block = place[: cost.numel()].view(cost.shape)
        scale = reg.unsqueeze(-1)
        dispatch.write_out(Entries(prices, block, source, (f - shift.unsqueeze(-1)) / scale, g / scale))
        ctx.save_for_backward(f, g, reg, cost, block)
        return block

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        with torch.no_grad():
            found = _Density._derivatives(ctx, saved, *gradients)
        return once(found, (*saved[:4], *gradients))

    @staticmethod
    def _derivatives(ctx: Any, saved: tuple[Tensor, ...], upstream: Tensor) -> tuple[Tensor | None, ...]:
        f, g, reg, cost, block = saved
        flowing = upstream * block
        scale = reg.unsqueeze(-1)
        rows, columns = flowing.sum(-1).double() / scale, flowing.sum(-2).double() / scale
        of_reg = of_cost = None
        if ctx.needs_input_grad[2]:
            # Forbidden pairs carry nothing.
            paid = torch.einsum("bij,bij->b", flowing, cost.masked_fill(cost == torch.inf, 0.0)).double() / reg
            of_reg = (paid - (f * rows).sum(-1) - (g * columns).sum(-1)) / reg
        if ctx.needs_input_grad[4]:
            of_cost = flowing.div_(-reg.to(flowing.dtype)[:, None, None])
        return rows, columns, of_reg, None, of_cost, None
