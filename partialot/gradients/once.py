"""Refusals to differentiate, whatever route is taken: what has no derivative, and backward passes that run once.

`torch.autograd.function.once_differentiable` refuses by a node that leads nowhere. `torch.autograd.grad(…, inputs)`
runs only nodes that lead to its inputs, so there that refusal is skipped and the pass's share is left out in silence.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from partialot.errors import NotDifferentiableError
from partialot.modes import ReverseMode

_TWICE = (
    "The derivative of a plan must not be differentiated twice by `gradient=Implicit()`. Found a second "
    "differentiation. Pass `gradient=Unrolled()`, or differentiate the value, whose second derivative is there."
)


def once(found: Sequence[Tensor | None], sources: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    """Give derivatives that refuse to be differentiated.

    Args:
        found: What a backward pass found, without a graph.
        sources: Every input of the pass and of its forward, as it was given: the refusal must lead to them.
    """
    known = [source for source in sources if source is not None and source.requires_grad]
    if not (torch.is_grad_enabled() and known):
        return tuple(found)
    return tuple(None if one is None else refused(one, known, _TWICE) for one in found)


def refused(tensor: Tensor, sources: Sequence[Tensor], reason: str) -> Tensor:
    """Give back `tensor` so that differentiating it with respect to any of `sources` raises `reason`."""
    return cast(Tensor, _Refusal.apply(reason, tensor, *sources))  # pyright: ignore[reportUnknownMemberType]


class _Refusal(ReverseMode):
    """Passes a tensor on whose derivative does not exist, and says so to whoever asks for it."""

    @staticmethod
    def forward(ctx: Any, reason: str, tensor: Tensor, *sources: Tensor) -> Tensor:
        """Pass the tensor on; the sources make it require a gradient when they do."""
        ctx.reason = reason
        ctx.set_materialize_grads(False)
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[None, ...]:
        """Say what is differentiable instead; autograd also visits nodes of which it needs nothing."""
        if upstream[0] is None:
            return (None,) * len(ctx.needs_input_grad)
        raise NotDifferentiableError(ctx.reason)
