"""The one border: every input is checked, brought to one shape and one type here, and nowhere else."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from partialot.errors import InfeasibleProblemError
from partialot.geometry import DenseCost, Geometry

HALF = (torch.float16, torch.bfloat16)
F = TypeVar("F", bound=Callable[..., object])
SUPPORTED = (*HALF, torch.float32, torch.float64)


def checks_its_inputs(function: F) -> F:
    """Mark a function that checks its inputs and says what to do: run-time type checkers must not speak first.

    What `typing.no_type_check` does, without hiding the signature from static checkers.
    """
    setattr(function, "__no_type_check__", True)  # noqa: B010 - an attribute that the type of functions does not list
    return function


@dataclass(frozen=True, eq=False)
class Problem:
    """A batch of transport problems whose every input has been checked and has the full batch shape.

    Attributes:
        geometry: The prices, `cost_ij` for moving one unit from source i to target j.
        a: Mass at each source node, at least 0; float16 and bfloat16 inputs are held as float32 from here on.
        b: Mass at each target node.
        mass: Total to move; None = balanced, all of it.
        reg: Entropic regularisation in units of the cost; None = the exact linear programme.
        dtype: The type the user works in, which the answer is returned in.
    """

    geometry: Geometry
    a: Float[Tensor, "*batch n"]
    b: Float[Tensor, "*batch m"]
    mass: Float[Tensor, "*batch"] | None
    reg: Float[Tensor, "*batch"] | None
    dtype: torch.dtype

    @classmethod
    @checks_its_inputs
    def from_inputs(
        cls,
        cost: Tensor | Geometry,
        a: Tensor | None = None,
        b: Tensor | None = None,
        *,
        mass: float | Tensor | None = None,
        reg: float | Tensor | None = None,
    ) -> "Problem":
        """Check what a user passes to `solve` and broadcast it over the batch.

        Args:
            cost: Prices (*batch, n, m), or a geometry.
            a: (*batch, n); default uniform of total 1.
            b: (*batch, m); likewise.
            mass: Scalar or (*batch,).
            reg: Scalar or (*batch,).

        Returns:
            The problem, all fields of one batch shape.

        Raises:
            TypeError: An input is no tensor, no floating-point tensor, or of another dtype or device than the cost.
            ValueError: Shapes do not fit; a value is NaN, infinite or of the wrong sign.
            InfeasibleProblemError: More mass is asked for than there is, or totals differ, or allowed pairs cannot
                carry it.
        """
        geometry = cost if isinstance(cost, Geometry) else _dense(cost)
        n, m = geometry.size
        for name, weights, size in (("a", a, n), ("b", b, m)):
            if weights is not None:
                _check_alike(name, weights, geometry)
                _check_last_dimension(name, weights, size)
        working = torch.float32 if geometry.dtype in HALF else geometry.dtype
        total = 0.0 if n * m == 0 else 1.0
        uniform = torch.full((1,), total, dtype=working, device=geometry.device)
        a = (uniform / max(n, 1)).expand(n) if a is None else a
        b = (uniform / max(m, 1)).expand(m) if b is None else b
        scalars = {"mass": _scalar("mass", mass, geometry), "reg": _scalar("reg", reg, geometry)}
        batch = _broadcast(geometry, a, b, scalars)
        problem = cls(
            geometry=geometry,
            a=a.to(working).expand(*batch, n),
            b=b.to(working).expand(*batch, m),
            mass=None if scalars["mass"] is None else scalars["mass"].to(working).expand(batch),
            reg=None if scalars["reg"] is None else scalars["reg"].to(working).expand(batch),
            dtype=geometry.dtype,
        )
        _check_values(problem)
        return problem

    @property
    def batch_shape(self) -> torch.Size:
        """The leading dimensions, over which problems are independent."""
        return self.a.shape[:-1]

    @property
    def size(self) -> tuple[int, int]:
        """The number of source and of target nodes, (n, m)."""
        return self.geometry.size

    def cost(self) -> Float[Tensor, "*batch n m"]:
        """Give the prices in the working type and the full batch shape."""
        return self.geometry.matrix().to(self.a.dtype).expand(*self.batch_shape, *self.size)


def slack(problem: Problem) -> float:
    """Give the relative difference of two totals that is taken for rounding: some ulps of the user's type."""
    ulp = torch.finfo(problem.dtype).eps
    return min(ulp * (4 + math.sqrt(max(*problem.size, 1))), 0.02)


def _dense(cost: object) -> DenseCost:
    if not isinstance(cost, Tensor):
        raise TypeError(
            f"`cost` must be a torch.Tensor or a Geometry. Found {type(cost).__name__}. Use torch.as_tensor."
        )
    _check_type("cost", cost.dtype)
    if cost.ndim < 2:
        raise ValueError(
            f"`cost` must have the shape (*batch, n, m). Found {tuple(cost.shape)}. "
            "Pass one price for each pair of a source and a target node."
        )
    return DenseCost(cost)


def _scalar(name: str, value: object, geometry: Geometry) -> Tensor | None:
    if value is None:
        return None
    if isinstance(value, Tensor):
        _check_alike(name, value, geometry)
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(
            f"`{name}` must be a number, a tensor of shape (*batch,) or None. Found {type(value).__name__}. "
            f"Pass a Python number for all problems, or a tensor with one value for each."
        )
    working = torch.float32 if geometry.dtype in HALF else geometry.dtype
    return torch.tensor(float(value), dtype=working, device=geometry.device)


def _check_type(name: str, dtype: torch.dtype) -> None:
    if dtype not in SUPPORTED:
        raise TypeError(
            f"`{name}` must be real and floating-point (float16, bfloat16, float32 or float64). Found {dtype}. "
            f"Convert it first, e.g. `{name}.to(torch.float32)`."
        )


def _check_alike(name: str, value: object, geometry: Geometry) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(
            f"`{name}` must be a torch.Tensor. Found {type(value).__name__}. "
            f"Convert it with torch.as_tensor(..., dtype={geometry.dtype})."
        )
    _check_type(name, value.dtype)
    if value.dtype != geometry.dtype:
        raise TypeError(
            f"`{name}` must have the dtype of `cost`. Found {value.dtype} beside {geometry.dtype}. "
            f"Convert one of them, e.g. `{name}.to({geometry.dtype})`."
        )
    if value.device != geometry.device:
        raise TypeError(
            f"`{name}` must be on the device of `cost`. Found {value.device} beside {geometry.device}. "
            f"Move one of them, e.g. `{name}.to('{geometry.device}')`."
        )


def _check_last_dimension(name: str, weights: Tensor, size: int) -> None:
    if weights.ndim < 1 or weights.shape[-1] != size:
        side = "row" if name == "a" else "column"
        raise ValueError(
            f"`{name}` must have one weight for each {side} of `cost`, {size} of them in its last dimension. "
            f"Found the shape {tuple(weights.shape)}. Pass a tensor of shape (*batch, {size})."
        )


def _broadcast(geometry: Geometry, a: Tensor, b: Tensor, scalars: dict[str, Tensor | None]) -> torch.Size:
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


def _check_values(problem: Problem) -> None:
    cost = problem.geometry.matrix().detach()
    if cost.numel():
        lowest, highest = cost.aminmax()
        # A NaN anywhere makes the minimum NaN, so one pass finds NaN and -inf alike.
        if not bool(lowest > -torch.inf):
            wrong = (cost.isnan() | (cost == -torch.inf)).flatten(-2).any(-1)
            raise ValueError(
                "`cost` must hold numbers or +inf (a forbidden pair). "
                f"Found {float(lowest)}{_where(wrong)}. Replace such entries before solving."
            )
        forbids = bool(highest == torch.inf)
    else:
        forbids = False
    for name, weights in (("a", problem.a.detach()), ("b", problem.b.detach())):
        wrong = ~((weights >= 0) & (weights < torch.inf)).all(-1)
        if bool(wrong.any()):
            raise ValueError(
                f"`{name}` must hold finite weights, at least 0. Found "
                f"{_first(weights.masked_fill(weights.isfinite() & (weights >= 0), 0), wrong)}{_where(wrong)}. "
                "Clamp or normalise the weights first."
            )
    _check_reg(problem)
    _check_mass(problem, forbids)


def _check_reg(problem: Problem) -> None:
    if problem.reg is None:
        return
    wrong = ~((problem.reg > 0) & (problem.reg < torch.inf))
    if bool(wrong.any()):
        raise ValueError(
            f"`reg` must be positive and finite. Found `reg = {float(problem.reg[wrong][0]):.9g}`{_where(wrong)}. "
            "Pass a positive number in units of the cost, or `reg=None` for the exact linear programme."
        )


def _check_mass(problem: Problem, forbids: bool) -> None:
    a, b = problem.a.detach().double(), problem.b.detach().double()
    total_a, total_b = a.sum(-1), b.sum(-1)
    tolerance = slack(problem)
    if problem.mass is None:
        wrong = (total_a - total_b).abs() > tolerance * torch.maximum(total_a, total_b)
        if bool(wrong.any()):
            raise InfeasibleProblemError(
                "`a` and `b` must have equal totals in balanced transport. Found "
                f"{float(total_a[wrong][0]):.9g} and {float(total_b[wrong][0]):.9g}{_where(wrong)}. "
                "Pass `mass` to move only a part, or rescale one of them."
            )
        wanted = torch.minimum(total_a, total_b)
    else:
        wanted = problem.mass.detach().double()
        wrong = ~((wanted >= 0) & (wanted < torch.inf))
        if bool(wrong.any()):
            raise ValueError(
                f"`mass` must be finite and at least 0. Found `mass = {float(wanted[wrong][0]):.9g}`{_where(wrong)}. "
                "Pass an absolute amount in the units of `a` and `b`."
            )
    _check_available(wanted, torch.minimum(total_a, total_b), tolerance, "of `a.sum(-1)` and `b.sum(-1)`")
    if forbids:
        allowed = problem.cost().detach() < torch.inf
        reach_a = (a * (allowed & (b > 0).unsqueeze(-2)).any(-1)).sum(-1)
        reach_b = (b * (allowed & (a > 0).unsqueeze(-1)).any(-2)).sum(-1)
        _check_available(
            wanted, torch.minimum(reach_a, reach_b), tolerance, "total of the weights that `cost` allows to pair"
        )


def _check_available(wanted: Tensor, available: Tensor, tolerance: float, whose: str) -> None:
    wrong = wanted > available * (1 + tolerance)
    if bool(wrong.any()):
        most = float(available[wrong][0])
        raise InfeasibleProblemError(
            f"`mass` must not exceed the smaller {whose}. Found `mass = {float(wanted[wrong][0]):.9g}` where at most "
            f"{most:.9g} is available{_where(wrong)}, {float(wanted[wrong][0]) - most:.3g} too much. "
            "Pass a smaller `mass`, or allow more pairs by finite costs."
        )


def _first(values: Tensor, wrong: Tensor) -> str:
    row = values[wrong][0]
    return f"{float(row[row != 0][0]):.9g}"


def _where(wrong: Bool[Tensor, "*batch"]) -> str:
    if wrong.ndim == 0:
        return ""
    index = tuple(int(i) for i in wrong.nonzero()[0])
    return f" in problem {index[0] if len(index) == 1 else index} of the batch"
