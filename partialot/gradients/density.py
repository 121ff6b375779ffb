"""Rows of a plan relative to its weights, evaluated from potentials, and their derivatives."""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.gradients.once import once
from partialot.kernels import dispatch
from partialot.kernels.primitives import Entries, Prices, Source
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
