"""Lower bounds of the exact linear programme, from any potentials: c-transforms make them feasible and better."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.kernels import dispatch
from partialot.kernels.blocks import at_a_time
from partialot.problem import Problem

_BLOCK = 1 << 19
"""Prices evaluated at a time on a CPU: they stay in cache, and nothing as large as the plan is made beside it."""


class DualBound(NamedTuple):
    """A feasible point of the dual linear programme: f_i + g_j + price ≤ cost_ij wherever both nodes have weight.

    Attributes:
        f: (batch, n), of the sources; at most 0 in partial problems.
        g: (batch, m), of the targets; likewise.
        price: (batch,), of mass; 0 in balanced problems.
        value: (batch,), ⟨a, f⟩ + ⟨b, g⟩ + mass · price, which no plan costs less than; without the last where the price
            is given, which is what no plan costs less than after the price is paid for what it moves.
    """

    f: Tensor
    g: Tensor
    price: Tensor
    value: Tensor


def transported_mass(problem: Problem) -> Float[Tensor, " batch"]:
    """Give what each problem of the flattened batch moves, in float64: no more than there is."""
    mass = torch.minimum(problem.a.double().sum(-1), problem.b.double().sum(-1))
    return (mass if problem.mass is None else torch.minimum(problem.mass.double(), mass)).reshape(-1)


def priced(problem: Problem, plan: Float[Tensor, "batch n m"]) -> Float[Tensor, " batch"]:
    """Give ⟨cost, plan⟩ of a float64 plan that leaves forbidden pairs empty."""
    total = plan.new_zeros(len(plan))
    for rows in _row_blocks(problem):
        cost = problem.flat_cost(rows).double()
        cost = cost.masked_fill(cost == torch.inf, 0.0) if problem.forbids else cost
        total += torch.einsum("bij,bij->b", plan[:, rows], cost)
    return total


def dual_bound(problem: Problem, f: Float[Tensor, "batch n"], price: Float[Tensor, " batch"]) -> DualBound:
    """Make potentials feasible for the dual, in float64; the targets' best ones follow from the sources'.

    Args:
        problem: What was to be solved, its batch flattened by the functions that read it.
        f: Any potentials of the sources, in units of the cost.
        price: Any price of mass; of no account in balanced problems.
    """
    count = problem.batch_shape.numel()
    a, b = (side.double().reshape(count, side.shape[-1]) for side in (problem.a, problem.b))
    f, price = f.double(), price.double()
    if problem.price is not None:
        shift = problem.price.double().reshape(count, 1)
        g = _finite((_of_targets(problem, _taking_part(f.clamp(max=0.0), a)) - shift).clamp(max=0.0))
        f = _finite((_of_sources(problem, _taking_part(g, b)) - shift).clamp(max=0.0))
        return DualBound(f, g, shift.squeeze(-1), (a * f).sum(-1) + (b * g).sum(-1))
    if problem.mass is None:
        # The largest g that f allows, then the largest f that this g allows.
        g = _finite(_of_targets(problem, _taking_part(f, a)))
        f, price = _finite(_of_sources(problem, _taking_part(g, b))), torch.zeros_like(price)
        return DualBound(f, g, price, (a * f).sum(-1) + (b * g).sum(-1))
    shift = price.unsqueeze(-1)
    g = (_of_targets(problem, _taking_part(f.clamp(max=0.0), a)) - shift).clamp(max=0.0)
    free = _of_sources(problem, _taking_part(g, b))
    f = (free - shift).clamp(max=0.0)
    # The largest price is the least of cost − f − g, whose least over the targets is at hand.
    price = _finite((free - _taking_part(f, a)).amin(-1)) if f.shape[-1] else price
    f, g = _finite(f), _finite(g)
    return DualBound(f, g, price, transported_mass(problem) * price + (a * f).sum(-1) + (b * g).sum(-1))


def _row_blocks(problem: Problem) -> list[slice]:
    n, m = problem.size
    step = max(1, at_a_time(problem.geometry.device, _BLOCK) // max(1, m * problem.batch_shape.numel()))
    return [slice(begin, begin + step) for begin in range(0, n if m else 0, step)]


def _of_targets(problem: Problem, f: Tensor) -> Tensor:
    """Give the least of cost − f over the sources, `inf` where no pair is allowed."""
    least = f.new_full((len(f), problem.size[1]), torch.inf)
    for rows in _row_blocks(problem):
        torch.minimum(least, dispatch.column_minima(problem.flat_cost(rows), f[:, rows]), out=least)
    return least


def _of_sources(problem: Problem, g: Tensor) -> Tensor:
    """Give the least of cost − g over the targets."""
    least = g.new_full((len(g), problem.size[0]), torch.inf)
    for rows in _row_blocks(problem):
        least[:, rows] = dispatch.row_minima(problem.flat_cost(rows), g)
    return least


def _taking_part(potentials: Tensor, weights: Tensor) -> Tensor:
    """Let the potentials of nodes of weight 0 bind nobody."""
    return torch.where(weights > 0, potentials, -torch.inf)


def _finite(potentials: Tensor) -> Tensor:
    return torch.where(potentials.isfinite(), potentials, 0.0)
