"""`solve` beneath `torch.func`: one operation, whatever happens inside.

A solve reads values: it checks them, stops by them, and hands memory to native kernels. Transforms replace tensors by
stand-ins without either. So the whole solve is one `torch.autograd.Function`, which PyTorch strips of the stand-ins:
a dimension of `vmap` becomes one more dimension of the batch, and the backward pass is that of the ordinary solve, kept
where it was recorded. PyTorch calls `forward` once, on tensors that have memory, however many transforms there are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from partialot.arrays import FloatArray, as_tensor
from partialot.errors import NotDifferentiableError
from partialot.geometry import DenseCost, Geometry
from partialot.inputs import Price
from partialot.modes import ReverseMode, transforms_are_active, uncompiled
from partialot.solution import Solution
from partialot.tensors import map_tensors

_Number = float | Tensor | FloatArray | None


class Inputs(NamedTuple):
    """What a solve is a function of, in the words of `solve`; of `init`, the potentials."""

    cost: Tensor | FloatArray | Geometry
    a: Tensor | FloatArray | None
    b: Tensor | FloatArray | None
    mass: _Number | Price
    reg: _Number
    duals: tuple[Tensor, Tensor] | None


def as_one_operation(solve: Callable[[Inputs], Solution], inputs: Inputs) -> Solution:
    """Solve, also where tensors are stand-ins of a transform or of the compiler.

    Args:
        solve: Solves for inputs whose tensors have memory, with a graph to those that require gradients.
        inputs: What to solve; under `vmap`, for one example.

    Returns:
        The solution, its tensors stand-ins like the inputs.
    """
    return uncompiled(_apply, solve, inputs)


def _apply(solve: Callable[[Inputs], Solution], inputs: Inputs) -> Solution:
    if not transforms_are_active():
        return solve(inputs)
    record = _Record(solve, _prepared(inputs), torch.is_grad_enabled())
    tensors = [tensor for tensor, _ in _tensors_of(record.inputs)]
    return _rebuild(record, _solve(record, tensors))


@dataclass(eq=False)
class _Record:
    """One solve on tensors that have memory, with its graph.

    Attributes:
        solve: See `as_one_operation`.
        inputs: What the user passed; its tensors tell where in the inputs each belongs.
        tracked: Whether a derivative may be asked for.
        leaves: The tensors that were solved for.
        solution: What came of them.
        outputs: Its tensors.
    """

    solve: Callable[[Inputs], Solution]
    inputs: Inputs
    tracked: bool
    leaves: Sequence[Tensor] = ()
    solution: Solution | None = None
    outputs: Sequence[Tensor] = ()


class _Solve(ReverseMode):
    """Tensors of a problem → tensors of its solution."""

    @staticmethod
    def forward(record: _Record, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Solve, and keep the graph for `_Adjoint`."""
        with torch.set_grad_enabled(record.tracked):
            # What cannot have a gradient is refused by the solve, in its own words.
            wanted = [record.tracked and x.is_floating_point() for x in tensors]
            record.leaves = [x.detach().requires_grad_(want) for x, want in zip(tensors, wanted, strict=True)]
            record.solution = record.solve(_with_tensors(record.inputs, record.leaves))
        record.outputs = _parts_of(record.solution)
        return tuple(part.detach() for part in record.outputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Remember the inputs: which transforms they belong to is told by their stand-ins."""
        ctx.record, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        fixed = zip(output, ctx.record.outputs, strict=True)
        ctx.mark_non_differentiable(*(part for part, recorded in fixed if not recorded.requires_grad))

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        """Pull the derivatives of the solution back."""
        if all(part is None for part in upstream):
            return (None,) * len(ctx.needs_input_grad)
        given = tuple(i for i, part in enumerate(upstream) if part is not None)
        wanted = tuple(i for i, needed in enumerate(ctx.needs_input_grad[1:]) if needed)
        tensors = [*ctx.saved_tensors, *(part for part in upstream if part is not None)]
        found = iter(_pull_back(ctx.record, given, wanted, tensors))
        return None, *(next(found) if i in wanted else None for i in range(len(ctx.saved_tensors)))

    @staticmethod
    def vmap(  # pyright: ignore[reportIncompatibleMethodOverride]
        info: Any, in_dims: tuple[Any, ...], record: _Record, *tensors: Tensor
    ) -> tuple[Any, Any]:
        """Make the dimension one more of the batch."""
        ranks = _batch_ranks(record.inputs, tensors, in_dims[1:])
        stacked = [
            _in_front(tensor, place, info.batch_size, max(ranks) - rank)
            for tensor, place, rank in zip(tensors, in_dims[1:], ranks, strict=True)
        ]
        return (found := _solve(record, stacked)), (0,) * len(found)


class _Adjoint(ReverseMode):
    """Derivatives by the tensors of a solution → derivatives by the tensors of its problem."""

    @staticmethod
    def forward(record: _Record, given: tuple[int, ...], wanted: tuple[int, ...], *tensors: Tensor) -> tuple[Any, ...]:
        """Go back through the recorded graph; the inputs, which are its leaves, come first among the tensors."""
        outputs, leaves = [record.outputs[i] for i in given], [record.leaves[i] for i in wanted]
        upstream = tensors[len(record.leaves) :]
        # A Jacobian comes back once a row.
        return torch.autograd.grad(
            outputs, leaves, upstream, retain_graph=True, allow_unused=True, materialize_grads=True
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Tell apart later whether a derivative is asked for: refusing needs nothing else."""
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        """Refuse; autograd also visits nodes of which it needs nothing."""
        if all(part is None for part in upstream):
            return (None,) * len(ctx.needs_input_grad)
        raise NotDifferentiableError(
            "Under `torch.func`, `solve` can be differentiated once. Found a derivative of a derivative. "
            "Outside of it, `torch.autograd.grad(solution.value, …, create_graph=True)` can be differentiated again."
        )

    @staticmethod
    def vmap(  # pyright: ignore[reportIncompatibleMethodOverride]
        info: Any, in_dims: tuple[Any, ...], record: _Record, given: Any, wanted: tuple[int, ...], *tensors: Tensor
    ) -> tuple[Any, Any]:
        """Tell a dimension that the solve had, one of its batch, from one of derivatives only, a Jacobian's rows."""
        places, count = in_dims[3:], len(record.leaves)
        stacked = [_in_front(x, place, info.batch_size, 0) for x, place in zip(tensors, places, strict=True)]
        if all(place is None for place in places[:count]):
            rows = [_pull_back(record, given, wanted, row) for row in zip(*stacked, strict=True)]
            return tuple(torch.stack(parts) for parts in zip(*rows, strict=True)), (0,) * len(wanted)
        shaped = zip(_pull_back(record, given, wanted, stacked), wanted, strict=True)
        return tuple(x.reshape(stacked[i].shape) for x, i in shaped), (0,) * len(wanted)


def _solve(record: _Record, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return cast("tuple[Tensor, ...]", _Solve.apply(record, *tensors))  # pyright: ignore[reportUnknownMemberType]


def _pull_back(
    record: _Record, given: tuple[int, ...], wanted: tuple[int, ...], tensors: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    arguments = record, given, wanted, *tensors
    return cast("tuple[Tensor, ...]", _Adjoint.apply(*arguments))  # pyright: ignore[reportUnknownMemberType]


def _prepared(inputs: Inputs) -> Inputs:
    """Turn arrays into tensors, and prices that would be stored into a matrix: a user's function sees stand-ins too."""
    cost = inputs.cost if isinstance(inputs.cost, Geometry) else DenseCost(inputs.cost)
    cost = cost if cost.is_lazy else cost.prepare()
    arrays = {
        name: as_tensor(name, cast(object, x)) for name, x in _numbers(inputs).items() if isinstance(x, np.ndarray)
    }
    return _with_numbers(inputs._replace(cost=cost), arrays)


def _numbers(inputs: Inputs) -> dict[str, object]:
    mass = inputs.mass.value if isinstance(inputs.mass, Price) else inputs.mass
    return {"a": inputs.a, "b": inputs.b, "mass": mass, "reg": inputs.reg}


def _with_numbers(inputs: Inputs, tensors: Mapping[str, Tensor]) -> Inputs:
    changed = inputs._replace(**tensors)
    priced = isinstance(inputs.mass, Price) and "mass" in tensors
    return changed._replace(mass=Price(tensors["mass"])) if priced else changed


def _tensors_of(inputs: Inputs) -> list[tuple[Tensor, int]]:
    """List the tensors among the inputs, and how many of their dimensions belong to one problem."""
    assert isinstance(inputs.cost, Geometry)
    numbers = zip(_numbers(inputs).values(), (1, 1, 0, 0), strict=True)
    duals = () if inputs.duals is None else inputs.duals
    ranked = (*((x, 2) for x in inputs.cost.tensors), *numbers, *((x, 1) for x in duals))
    return [(x, rank) for x, rank in ranked if isinstance(x, Tensor)]


def _with_tensors(inputs: Inputs, tensors: Sequence[Tensor]) -> Inputs:
    """Put other tensors in the places that `_tensors_of` lists."""
    assert isinstance(inputs.cost, Geometry)
    rest = iter(tensors)
    cost = inputs.cost.replace(*(next(rest) for _ in inputs.cost.tensors))
    given = {name: next(rest) for name, x in _numbers(inputs).items() if isinstance(x, Tensor)}
    duals = None if inputs.duals is None else (next(rest), next(rest))
    return _with_numbers(inputs._replace(cost=cost, duals=duals), given)


def _parts_of(solution: Solution) -> list[Tensor]:
    """List the tensors of a solution; those of its prices are the user's own."""
    parts: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        parts.append(tensor)
        return tensor

    map_tensors(solution, note)
    return parts


def _rebuild(record: _Record, parts: Sequence[Tensor]) -> Solution:
    """Put other tensors in the places that `_parts_of` lists."""
    assert record.solution is not None and isinstance(record.inputs.cost, Geometry)  # noqa: PT018 - no test
    rest = iter(parts)
    solution = map_tensors(record.solution, lambda _: next(rest))
    return replace(solution, problem=solution.problem.on(record.inputs.cost))


def _batch_ranks(inputs: Inputs, tensors: Sequence[Tensor], places: Sequence[int | None]) -> list[int]:
    """Give how many dimensions of each tensor are the batch's, that of `vmap` apart."""
    own = [rank for _, rank in _tensors_of(inputs)]
    return [max(x.ndim - (place is not None) - rank, 0) for x, place, rank in zip(tensors, places, own, strict=True)]


def _in_front(tensor: Tensor, place: int | None, size: int, lacking: int) -> Tensor:
    """Bring the dimension of `vmap` to the front, before all of the batch's, which broadcast from the right."""
    tensor = tensor.expand(size, *tensor.shape) if place is None else tensor.movedim(place, 0)
    return tensor.reshape(size, *(1,) * lacking, *tensor.shape[1:])
