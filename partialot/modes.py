"""PyTorch's modes, and what they allow."""

import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint  # pyright: ignore[reportUnknownVariableType]

from partialot.errors import NotDifferentiableError

T = TypeVar("T")


def transforms_are_active() -> bool:
    """Tell whether a transform of `torch.func` is at work, so that tensors may be stand-ins without memory."""
    # PyTorch has no public name for the question; its own `torch.autograd.Function.apply` asks it so.
    return torch._C._are_functorch_transforms_active()  # pyright: ignore[reportPrivateUsage]


def uncompiled(function: Callable[..., T], *arguments: object) -> T:
    """Call a function that reads values and memory, which `torch.compile` is to leave out of its graphs.

    Decided at the call and not by a decorator: that would import the compiler along with this package, for everyone.
    Where it has been imported, it is kept out of calls that it has given up compiling too: it would try those within.
    """
    if torch.compiler.is_dynamo_compiling() or "torch._dynamo" in sys.modules:
        disable = cast(Callable[..., Callable[..., T]], torch.compiler.disable)  # pyright: ignore[reportUnknownMemberType]
        return disable(function, reason="Transport reads values and memory.")(*arguments)
    return function(*arguments)


def require_memory(what: str, remedy: str) -> None:
    """Refuse what hands memory to native kernels or reads values where tensors may have neither.

    Args:
        what: The subject of the sentence.
        remedy: What to do instead.

    Raises:
        NotImplementedError: A transform of `torch.func` is at work.
    """
    if transforms_are_active():
        raise NotImplementedError(
            f"{what} must be asked for outside of the transforms of `torch.func`. Found one at work. {remedy}"
        )


def recomputed(function: Callable[..., T], *arguments: object) -> T:
    """Call a function whose intermediate results the backward pass computes again instead of keeping them.

    Under transforms of `torch.func`, which do not allow that, they are kept.
    """
    if not torch.is_grad_enabled() or transforms_are_active() or not _may_recompute():
        return function(*arguments)
    return cast(T, checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False))


def _may_recompute() -> bool:
    """Tell whether autograd may save what it will: not beneath derivatives of `torch.func`, their stand-ins or not."""

    def same(tensor: Tensor) -> Tensor:
        return tensor

    try:
        with torch.autograd.graph.saved_tensors_hooks(same, same):
            return True
    except RuntimeError:
        return False


class ReverseMode(torch.autograd.Function):
    """An operation with derivatives in reverse mode, which refuses to be differentiated in forward mode."""

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> None:
        """Refuse.

        Raises:
            NotDifferentiableError: Always.
        """
        raise NotDifferentiableError(
            "Transport has derivatives in reverse mode only. Found one asked in forward mode, by `torch.func.jvp`, "
            "`jacfwd`, `hessian` or dual tensors. Use `torch.func.vjp`, `jacrev` or `backward`."
        )
