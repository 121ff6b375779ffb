"""What a user may pass: the checks that concern one input."""

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from partialot.arrays import HALF, FloatArray, as_tensor
from partialot.errors import checks_its_inputs as checks_its_inputs
from partialot.geometry import Geometry

Formulation = Literal["dummy", "capped"]
"""What the entropy of a partial problem is taken of: all pairs, dummies' included, or what moves only."""

FORMULATIONS: tuple[str, ...] = get_args(Formulation)


def working_type(dtype: torch.dtype) -> torch.dtype:
    """Give the type that problems of this type are solved in."""
    return torch.float32 if dtype in HALF else dtype


def scalar(name: str, value: object, geometry: Geometry) -> Tensor | None:
    """Bring `mass` or `reg` to a tensor: a number to the working type; a tensor or a NumPy array as it is."""
    if value is None:
        return None
    if isinstance(value, Tensor | np.ndarray):
        return check_alike(name, cast(object, value), geometry)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(
            f"`{name}` must be a number, a tensor or array of shape (*batch,), or None. Found {type(value).__name__}. "
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


@dataclass(frozen=True, eq=False)
class Price:
    """A price of mass in place of the mass: what pays less than it moves, as much as the weights allow.

    `solve(cost, a, b, mass=Price(0.4))` minimises ⟨cost − 0.4, plan⟩ under plan · 1 ≤ a and planᵀ · 1 ≤ b.

    Attributes:
        value: In units of the cost, finite, any sign; a scalar or (*batch,), differentiable.
    """

    value: float | Tensor | FloatArray


def check_formulation(formulation: object, *, has_mass: bool, has_reg: bool) -> None:
    """Require a formulation that exists, and what it formulates."""
    if formulation not in FORMULATIONS:
        raise ValueError(
            f"`formulation` must be one of {', '.join(map(repr, FORMULATIONS))}. Found {formulation!r}. "
            "Leave it out for the problem with dummy nodes."
        )
    if formulation == "capped" and not (has_mass and has_reg):
        raise ValueError(
            "`formulation='capped'` must have a `mass` and a `reg`. Found none of one of them. Pass both, or leave "
            "`formulation` out: without `reg` all formulations are one linear programme, without `mass` nothing is "
            "capped."
        )


def check_alike(name: str, value: object, geometry: Geometry) -> Tensor:
    """Give a tensor or a NumPy array as a tensor; require the dtype and device of the cost."""
    tensor = as_tensor(name, value)
    mine = name if isinstance(value, Tensor) else f"torch.from_numpy({name})"
    if tensor.dtype != geometry.dtype:
        raise TypeError(
            f"`{name}` must have the dtype of `cost`. Found {tensor.dtype} beside {geometry.dtype}. "
            f"Convert one of them, e.g. `{mine}.to({geometry.dtype})`."
        )
    if tensor.device != geometry.device:
        raise TypeError(
            f"`{name}` must be on the device of `cost`. Found {tensor.device} beside {geometry.device}. "
            f"Move one of them, e.g. `{mine}.to('{geometry.device}')`."
        )
    return tensor


def check_last_dimension(name: str, weights: Tensor, size: int) -> Tensor:
    """Require a weight for each row or column of the cost, and give them back."""
    if weights.ndim < 1 or weights.shape[-1] != size:
        side = "row" if name == "a" else "column"
        raise ValueError(
            f"`{name}` must have one weight for each {side} of `cost`, {size} of them in its last dimension. "
            f"Found the shape {tuple(weights.shape)}. Pass a tensor of shape (*batch, {size})."
        )
    return weights


@checks_its_inputs
def weights(geometry: Geometry, a: Tensor | FloatArray | None, b: Tensor | FloatArray | None) -> tuple[Tensor, Tensor]:
    """Give the weights that fit the prices, uniform of total 1 where none are given."""
    n, m = geometry.size
    total = 0.0 if geometry.sources * m == 0 else 1.0
    uniform = torch.full((1,), total, dtype=working_type(geometry.dtype), device=geometry.device)
    return (
        (uniform / max(geometry.sources, 1)).expand(n)
        if a is None
        else check_last_dimension("a", check_alike("a", a, geometry), n),
        (uniform / max(m, 1)).expand(m) if b is None else check_last_dimension("b", check_alike("b", b, geometry), m),
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


def check_weights(a: Tensor, b: Tensor) -> None:
    """Require weights that are finite and at least 0."""
    for name, weights in (("a", a.detach()), ("b", b.detach())):
        wrong = ~((weights >= 0) & (weights < torch.inf)).all(-1)
        if bool(wrong.any()):
            raise ValueError(
                f"`{name}` must hold finite weights, at least 0. Found "
                f"{_first(weights.masked_fill(weights.isfinite() & (weights >= 0), 0), wrong)}{where(wrong)}. "
                "Clamp or normalise the weights first."
            )


def _first(values: Tensor, wrong: Tensor) -> str:
    row = values[wrong][0]
    return f"{float(row[row != 0][0]):.9g}"


def where(wrong: Bool[Tensor, "*batch"]) -> str:
    """Name the first problem of the batch that is wrong."""
    if wrong.ndim == 0:
        return ""
    index = tuple(int(i) for i in wrong.nonzero()[0])
    return f" in problem {index[0] if len(index) == 1 else index} of the batch"


def columns(x: Tensor, batch: torch.Size, plan: tuple[int, int], side: Literal[0, 1]) -> Float[Tensor, "..."]:
    """Bring what a plan multiplies to (*batch, size, k).

    Args:
        x: (*batch, size) or (*batch, size, k), the size that of the plan on this side.
        batch: The batch shape.
        plan: Numbers of sources and of targets.
        side: Which of the two x belongs to.
    """
    vectors = x.unsqueeze(-1) if x.ndim == len(batch) + 1 else x
    fits = vectors.ndim == len(batch) + 2 and vectors.shape[-2] == plan[side]
    if not (fits and all(one == other or one == 1 for one, other in zip(vectors.shape, batch, strict=False))):
        raise ValueError(
            f"The plan multiplies tensors of shape (*batch, {plan[side]}) or (*batch, {plan[side]}, k). "
            f"Found {tuple(x.shape)} beside a plan of {(*batch, *plan)}. "
            "Use `apply` for targets, `apply_transpose` for sources."
        )
    return vectors
