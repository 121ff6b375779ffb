"""Problems as PyTorch tensors, and what PyTorch keeps for a backward pass."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tests.conformance.library import Array, Output, Problem


@dataclass(frozen=True)
class Tensors:
    """The arguments of one problem; None where it leaves one out."""

    cost: Tensor
    a: Tensor | None
    b: Tensor | None
    mass: Tensor | None
    reg: Tensor | None


def tensor(array: Array | float, dtype: str) -> Tensor:
    """Copy an array to the CPU in the named type."""
    return torch.from_numpy(np.asarray(array)).to(getattr(torch, dtype)).contiguous().clone()


def tensors(problem: Problem, *, differentiable: bool = False) -> Tensors:
    """Write a problem in tensors.

    Args:
        problem: What to write.
        differentiable: Whether each is a leaf of a graph, as if layers of a network lay before all of them.
    """

    def optional(number: Array | float | None) -> Tensor | None:
        return None if number is None else leaf(number)

    def leaf(number: Array | float) -> Tensor:
        return tensor(number, problem.dtype).requires_grad_(differentiable)

    a, b, mass, reg = (optional(number) for number in (problem.a, problem.b, problem.mass, problem.reg))
    return Tensors(leaf(problem.cost), a, b, mass, reg)


def array(numbers: Tensor) -> Array:
    """Copy a tensor back."""
    return numbers.detach().to(torch.float64).numpy()


def differentiate(outputs: dict[Output, Tensor], of: Output, leaf: Tensor, upstream: Array | None) -> Array:
    """Give d⟨upstream, output⟩/d leaf; zeros stay apart from «no gradient», which raises."""
    scalar = outputs[of].sum() if upstream is None else (outputs[of] * tensor(upstream, "float64")).sum()
    if not scalar.requires_grad:
        raise TypeError("detached: no gradient is offered")
    (gradient,) = torch.autograd.grad(scalar, leaf, allow_unused=True)
    if gradient is None:
        raise LookupError("no gradient arrives")
    return array(gradient)


def bytes_kept(solve: Callable[[], Tensor]) -> int:
    """Count what autograd stores while `solve` runs, each storage once."""
    kept: dict[int, int] = {}

    def pack(saved: Tensor) -> Tensor:
        kept[saved.untyped_storage().data_ptr()] = saved.untyped_storage().nbytes()
        return saved

    # Held until counted, or a freed address could be counted once for two tensors.
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        held = solve()
    return sum(kept.values()) if held.requires_grad else 0
