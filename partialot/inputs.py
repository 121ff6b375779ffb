"""What a user may pass: the checks of types and shapes, which need no value."""

import math
import numbers
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from partialot.geometry import Geometry
from partialot.geometry.dense import HALF, check_tensor, check_type

F = TypeVar("F", bound=Callable[..., object])


def checks_its_inputs(function: F) -> F:
    """Mark a function that checks its inputs and says what to do: run-time type checkers must not speak first.

    What `typing.no_type_check` does, without hiding the signature from static checkers.
    """
    setattr(function, "__no_type_check__", True)  # noqa: B010 - an attribute that the type of functions does not list
    return function


def working_type(dtype: torch.dtype) -> torch.dtype:
    """Give the type that problems of this type are solved in."""
    return torch.float32 if dtype in HALF else dtype


def scalar(name: str, value: object, geometry: Geometry) -> Tensor | None:
    """Bring `mass` or `reg` to a tensor of the working type; a tensor passes as it is."""
    if value is None:
        return None
    if isinstance(value, Tensor):
        check_alike(name, value, geometry)
        return value
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(
            f"`{name}` must be a number, a tensor of shape (*batch,) or None. Found {type(value).__name__}. "
            f"Pass a Python number for all problems, or a tensor with one value for each."
        )
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    held = torch.tensor(number, dtype=working_type(geometry.dtype), device=geometry.device)
    if value != 0 and held == 0:
        raise ValueError(
            f"`{name}` must be a number that {held.dtype} can hold. Found {value}, which becomes 0. Work in float64."
        )
    return held


def check_alike(name: str, value: object, geometry: Geometry) -> None:
    """Require a tensor of the dtype and device of the cost."""
    tensor = check_tensor(name, value)
    check_type(name, tensor.dtype)
    if tensor.dtype != geometry.dtype:
        raise TypeError(
            f"`{name}` must have the dtype of `cost`. Found {tensor.dtype} beside {geometry.dtype}. "
            f"Convert one of them, e.g. `{name}.to({geometry.dtype})`."
        )
    if tensor.device != geometry.device:
        raise TypeError(
            f"`{name}` must be on the device of `cost`. Found {tensor.device} beside {geometry.device}. "
            f"Move one of them, e.g. `{name}.to('{geometry.device}')`."
        )


def check_last_dimension(name: str, weights: Tensor, size: int) -> None:
    """Require a weight for each row or column of the cost."""
    if weights.ndim < 1 or weights.shape[-1] != size:
        side = "row" if name == "a" else "column"
        raise ValueError(
            f"`{name}` must have one weight for each {side} of `cost`, {size} of them in its last dimension. "
            f"Found the shape {tuple(weights.shape)}. Pass a tensor of shape (*batch, {size})."
        )


def broadcast_batches(geometry: Geometry, a: Tensor, b: Tensor, scalars: Mapping[str, Tensor | None]) -> torch.Size:
    """Give the batch shape that all inputs share, sizes of 1 stretched."""
    shapes = {"cost": geometry.batch_shape, "a": a.shape[:-1], "b": b.shape[:-1]}
    shapes |= {name: value.shape for name, value in scalars.items() if value is not None}
    try:
        return torch.Size(np.broadcast_shapes(*shapes.values()))
    except ValueError:
        found = ", ".join(f"{name}: {tuple(shape)}" for name, shape in shapes.items())
        raise ValueError(
            "The batch dimensions of `cost`, `a`, `b`, `mass` and `reg` must broadcast. "
            f"Found {found}. Add dimensions of size 1 where a tensor is shared by several problems."
        ) from None
