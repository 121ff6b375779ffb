"""Plans whose prices are not stored: what is computed from them, and its derivatives, block by block.

Automatic differentiation of a loop keeps something of every block, at the least its result. So each loop is one
operation here, whose backward pass goes through the blocks again: it evaluates a block, differentiates it alone, and
adds up what reaches the inputs. Between clouds whose prices are evaluated on the way there are no blocks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.clouds import CloudKernel
from partialot.gradients.cloud_products import cloud_product
from partialot.gradients.density import density
from partialot.gradients.once import once
from partialot.inputs import working_type
from partialot.modes import ReverseMode
from partialot.problem import Problem

BlockFunction = Callable[[Problem, slice, Sequence[Tensor], Sequence[Tensor]], Tensor]
"""From a problem, some of its sources, what belongs to those and what belongs to all, to a block's part of a result."""


@dataclass(frozen=True, eq=False)
class LazyPlan:
    """plan_ij = left_i · right_j · exp((f_i + g_j − cost_ij) / reg), never all of it at a time but in `matrix`.

    Memory is O((n + m) (d + k)) and a few blocks, forward and backward, whatever is differentiated by: potentials,
    weights, `reg`, vectors, and what the prices are a function of. There are first derivatives only.

    Attributes:
        problem: Where the prices come from, with a `reg`.
        f: Potentials in units of the cost, float64, relative to the weights.
        g: Likewise.
        left: What multiplies rows.
        right: What multiplies columns.
    """

    problem: Problem
    f: Float[Tensor, "*batch n"]
    g: Float[Tensor, "*batch m"]
    left: Float[Tensor, "*batch n"]
    right: Float[Tensor, "*batch m"]

    def matrix(self) -> Float[Tensor, "*batch n m"]:
        """Write the plan out."""
        block = density(self.problem, self.problem.flat_cost(slice(None)), self.f, self.g)
        return block * self.left.unsqueeze(-1) * self.right.unsqueeze(-2)

    def times(self, vectors: Float[Tensor, "*#batch m k"]) -> Float[Tensor, "*batch n k"]:
        """Multiply the plan with some vectors."""
        # Weights multiply the vectors, which are smaller than the plan.
        kernel, weighted = self._kernel(), self.right.unsqueeze(-1) * vectors
        if kernel is None:
            sums = _by_blocks(_times, self.problem, (self.f,), (self.g, weighted), joined=True)
        else:
            sums = self._on_the_way(kernel, weighted)
        return self.left.unsqueeze(-1) * sums

    def transposed_times(self, vectors: Float[Tensor, "*#batch n k"]) -> Float[Tensor, "*batch m k"]:
        """Multiply the transposed plan with some vectors."""
        kernel, weighted = self._kernel(), self.left.unsqueeze(-1) * vectors
        if kernel is None:
            sums = _by_blocks(_transposed_times, self.problem, (self.f, weighted), (self.g,), joined=False)
        else:
            sums = self._transposed_on_the_way(kernel, weighted)
        return self.right.unsqueeze(-1) * sums

    def paid(self) -> Float[Tensor, "*batch"]:
        """Give ⟨cost, plan⟩."""
        return _by_blocks(_paid, self.problem, (self.f, self.left), (self.g, self.right), joined=False)

    @torch.no_grad()
    def _kernel(self) -> CloudKernel | None:
        """Give the plan over its weights, evaluated on the way; None where it is by blocks."""
        assert self.problem.reg is not None
        count = self.problem.batch_shape.numel()
        f, g = (x.detach().reshape(count, x.shape[-1]) for x in (self.f, self.g))
        scale, shift = self.problem.reg.detach().double().reshape(count, 1), self.problem.lowest.reshape(count, 1)
        return CloudKernel.of(self.problem, (f - shift) / scale, g / scale, 1 / scale[:, 0], shift[:, 0])

    def _on_the_way(self, kernel: CloudKernel, vectors: Tensor) -> Tensor:
        assert self.problem.reg is not None
        left, right = self.problem.geometry.tensors
        return cloud_product(kernel, self.problem.reg, (self.f, self.g), vectors, (left, right))

    def _transposed_on_the_way(self, kernel: CloudKernel, vectors: Tensor) -> Tensor:
        assert self.problem.reg is not None
        left, right = self.problem.geometry.tensors
        return cloud_product(kernel.transposed, self.problem.reg, (self.g, self.f), vectors, (right, left))


def _prices(problem: Problem, rows: slice) -> Tensor:
    return problem.flat_cost(rows, None if torch.is_grad_enabled() else problem.rooms[0])


def _times(problem: Problem, rows: slice, per_source: Sequence[Tensor], shared: Sequence[Tensor]) -> Tensor:
    (f,), (g, vectors) = per_source, shared
    return density(problem, _prices(problem, rows), f, g) @ vectors


def _transposed_times(problem: Problem, rows: slice, per_source: Sequence[Tensor], shared: Sequence[Tensor]) -> Tensor:
    (f, vectors), (g,) = per_source, shared
    return density(problem, _prices(problem, rows), f, g).mT @ vectors


def _paid(problem: Problem, rows: slice, per_source: Sequence[Tensor], shared: Sequence[Tensor]) -> Tensor:
    (f, left), (g, right) = per_source, shared
    prices = _prices(problem, rows)
    block = density(problem, prices, f, g)
    prices = prices.masked_fill(prices == torch.inf, 0.0) if problem.forbids else prices
    spent = (prices.reshape(block.shape) * block) @ right.unsqueeze(-1)
    return (left * spent.squeeze(-1)).sum(-1)


def _by_blocks(
    function: BlockFunction,
    problem: Problem,
    per_source: Sequence[Tensor],
    shared: Sequence[Tensor],
    *,
    joined: bool,
) -> Tensor:
    """Call a function for every block of sources, and differentiate it so.

    Args:
        function: What to call; all that it may be differentiated by are its arguments.
        problem: Where the prices come from.
        per_source: (*batch, n) or (*batch, n, k), of which each block gets its rows.
        shared: Of which each block gets all.
        joined: Whether results (*batch, rows, k) of blocks are put one below the other, else they are added up.
    """
    inputs = problem.reg, *per_source, *shared, *problem.geometry.tensors
    arguments = function, problem, (len(per_source), len(shared)), joined, *inputs
    return cast(Tensor, _ByBlocks.apply(*arguments))  # pyright: ignore[reportUnknownMemberType]


class _ByBlocks(ReverseMode):
    """A loop over blocks of sources as one operation."""

    @staticmethod
    def forward(
        ctx: Any, function: BlockFunction, problem: Problem, counts: tuple[int, int], joined: bool, *inputs: Tensor
    ) -> Tensor:
        ctx.function, ctx.problem, ctx.counts, ctx.joined = function, problem, counts, joined
        # Saved, features are watched: changed in place before the backward pass, they raise.
        ctx.save_for_backward(*inputs)
        _, per_source, shared, _ = _grouped(inputs, counts)
        n, whole, dtype = problem.size[0], None, None
        for rows in problem.row_blocks():
            part = function(problem, rows, [_rows_of(x, rows, problem) for x in per_source], shared)
            if whole is None:
                # Written in place: what is kept from block to block would leave holes between large ones.
                shape, dtype = (*part.shape[:-2], n, part.shape[-1]) if joined else part.shape, part.dtype
                whole = part.new_zeros(shape, dtype=dtype if joined else torch.float64)
            (whole[..., rows, :] if joined else whole).add_(part)
        assert whole is not None
        return whole.to(dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        with torch.no_grad():
            found = _ByBlocks._derivatives(ctx, saved, gradients[0])
        return once((None, None, None, None, *found), (*saved, *gradients))

    @staticmethod
    def _derivatives(ctx: Any, saved: Sequence[Tensor], upstream: Tensor) -> list[Tensor | None]:
        problem, needed = ctx.problem, ctx.needs_input_grad[4:]
        sums = [torch.zeros_like(x, dtype=torch.float64) for x in saved]
        for rows in problem.row_blocks():
            leaves, block = _leaves(problem, rows, saved, needed, ctx.counts)
            homes = _parts(problem, rows, sums, ctx.counts)
            with torch.enable_grad():
                _, per_source, shared, _ = _grouped(leaves, ctx.counts)
                part = ctx.function(block, slice(None), per_source, shared)
            wanted = [i for i, need in enumerate(needed) if need]
            flowing = upstream[..., rows, :] if ctx.joined else upstream
            found = torch.autograd.grad(
                part, [leaves[i] for i in wanted], flowing, allow_unused=True, materialize_grads=True
            )
            for i, new in zip(wanted, found, strict=True):
                homes[i].add_(new)
        return [x.to(old.dtype) if need else None for x, old, need in zip(sums, saved, needed, strict=True)]


def _grouped(
    inputs: Sequence[Tensor], counts: tuple[int, int]
) -> tuple[Tensor, Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
    """Tell `reg`, what belongs to sources, what to all, and what the prices are a function of apart."""
    first, last = 1 + counts[0], 1 + sum(counts)
    return inputs[0], inputs[1:first], inputs[first:last], inputs[last:]


def _parts(problem: Problem, rows: slice, inputs: Sequence[Tensor], counts: tuple[int, int]) -> list[Tensor]:
    """Give views of what some sources take of the inputs."""
    reg, per_source, shared, tensors = _grouped(inputs, counts)
    part = problem.geometry.replace(*tensors).part(rows)
    return [reg, *(_rows_of(x, rows, problem) for x in per_source), *shared, *part.tensors]


def _leaves(
    problem: Problem, rows: slice, inputs: Sequence[Tensor], needed: Sequence[bool], counts: tuple[int, int]
) -> tuple[list[Tensor], Problem]:
    """Cut the inputs of some sources out of their graph, and give the problem that has those for inputs."""
    parts = _parts(problem, rows, inputs, counts)
    parts = [part.detach().to(working_type(part.dtype)) for part in parts]
    leaves = [part.requires_grad_(need) for part, need in zip(parts, needed, strict=True)]
    geometry = problem.geometry.part(rows).replace(*_grouped(leaves, counts)[3])
    return leaves, replace(problem, geometry=geometry, reg=leaves[0])


def _rows_of(x: Tensor, rows: slice, problem: Problem) -> Tensor:
    """Give some rows of (*batch, n) or (*batch, n, k)."""
    return x[..., rows] if x.ndim == len(problem.batch_shape) + 1 else x[..., rows, :]
