"""Backward passes that can be run once: a second differentiation is refused, whatever route it takes.

`torch.autograd.function.once_differentiable` refuses by a node that leads nowhere. `torch.autograd.grad(…, inputs)`
runs only nodes that lead to its inputs, so there that refusal is skipped and the pass's share is left out in silence.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from partialot.errors import NotDifferentiableError


def once(found: Sequence[Tensor | None], sources: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    """Give derivatives that refuse to be differentiated.

    Args:
        found: What a backward pass found, without a graph.
        sources: Every input of the pass and of its forward, as it was given: the refusal must lead to them.
    """
    known = [source for source in sources if source is not None and source.requires_grad]
    if not (torch.is_grad_enabled() and known):
        return tuple(found)
    return tuple(None if one is None else cast(Tensor, _Once.apply(one, *known)) for one in found)  # pyright: ignore[reportUnknownMemberType]


class _Once(torch.autograd.Function):
    """A derivative that raises where its own is asked for."""

    @staticmethod
    def forward(ctx: Any, derivative: Tensor, *sources: Tensor) -> Tensor:
        """Pass the derivative on; the sources make it require a gradient."""
        ctx.set_materialize_grads(False)
        return derivative.view_as(derivative)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        """Say what can be differentiated instead; autograd also visits nodes of which it needs nothing."""
        if upstream[0] is None:
            return (None,) * len(ctx.needs_input_grad)
        raise NotDifferentiableError(
            "The derivative of a plan must not be differentiated twice by `gradient=Implicit()`. Found a second "
            "differentiation. Pass `gradient=Unrolled()`, or differentiate the value, whose second derivative is there."
        )
