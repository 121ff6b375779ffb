"""The one border: every input is checked, brought to one shape and one type here, and nowhere else."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.arrays import FloatArray
from partialot.blocks import block_room, row_blocks
from partialot.communicator import Communicator
from partialot.errors import InfeasibleProblemError
from partialot.extent import check_range, extent
from partialot.geometry import DenseCost, Geometry
from partialot.inputs import (
    Formulation,
    Price,
    broadcast_batches,
    check_formulation,
    check_weights,
    checks_its_inputs,
    scalar,
    weights,
    where,
    working_type,
)


@dataclass(frozen=True, eq=False)
class Problem:
    """A batch of transport problems whose every input has been checked and has the full batch shape.

    Attributes:
        geometry: The prices, `cost_ij` for moving one unit from source i to target j.
        a: Mass at each source node, at least 0; float16 and bfloat16 inputs are held as float32 from here on.
        b: Mass at each target node.
        mass: Total to move; None = balanced, all of it, or left to the price.
        price: What a unit of mass pays; None where the mass is given.
        reg: Entropic regularisation in units of the cost; None = the exact linear programme.
        formulation: What `reg` regularises: "dummy", the problem with dummy nodes, or "capped", what moves only.
        dtype: The type the user works in, which the answer is returned in.
        lowest: The smallest price, 0 where every pair is forbidden; float64, like `highest`.
        highest: The largest price of an allowed pair.
        forbids: Whether any pair is forbidden.
    """

    geometry: Geometry
    a: Float[Tensor, "*batch n"]
    b: Float[Tensor, "*batch m"]
    mass: Float[Tensor, "*batch"] | None
    price: Float[Tensor, "*batch"] | None
    reg: Float[Tensor, "*batch"] | None
    formulation: Formulation
    dtype: torch.dtype
    lowest: Float[Tensor, "*batch"]
    highest: Float[Tensor, "*batch"]
    forbids: bool

    @classmethod
    @checks_its_inputs
    def from_inputs(
        cls,
        cost: Tensor | FloatArray | Geometry,
        a: Tensor | FloatArray | None = None,
        b: Tensor | FloatArray | None = None,
        *,
        mass: float | Tensor | FloatArray | Price | None = None,
        reg: float | Tensor | FloatArray | None = None,
        formulation: Formulation = "dummy",
    ) -> "Problem":
        """Check what a user passes to `solve` and broadcast it over the batch.

        Args:
            cost: Prices (*batch, n, m), or a geometry.
            a: (*batch, n); default uniform of total 1.
            b: (*batch, m); likewise.
            mass: Scalar or (*batch,), or a price of it.
            reg: Scalar or (*batch,).
            formulation: What `reg` regularises, see `solve`.

        Returns:
            The problem, all fields of one batch shape.

        Raises:
            TypeError: An input is no tensor, no floating-point tensor, or of another dtype or device than the cost.
            ValueError: Shapes do not fit; a value is NaN, infinite or of the wrong sign.
            InfeasibleProblemError: More mass is asked for than there is, or totals differ, or allowed pairs cannot
                carry it.
        """
        geometry = cost if isinstance(cost, Geometry) else DenseCost(cost)
        ranks, working, given = geometry.ranks, working_type(geometry.dtype), a is not None
        price, mass = (mass.value, None) if isinstance(mass, Price) else (None, mass)
        with ranks.together():
            check_formulation(formulation, has_mass=mass is not None, has_reg=reg is not None)
            a, b = weights(geometry, a, b)
            numbers = {"mass": mass, "price": price, "reg": reg}
            scalars = {name: scalar(name, value, geometry) for name, value in numbers.items()}
            batch = broadcast_batches(geometry, a, b, scalars)
            dtype, geometry = geometry.dtype, geometry.prepare()
            lowest, highest, forbids = extent(geometry, a, b)
            check_weights(a.to(working), b.to(working))
        derived = f"given: {given}, batch {tuple(a.shape[:-1])}, requires_grad: {a.requires_grad}"
        ranks.require_same({"a": derived, "b": b, **scalars, "torch.is_grad_enabled()": torch.is_grad_enabled()})
        lowest, highest = -ranks.max(-lowest.expand(batch)), ranks.max(highest.expand(batch))
        held = {name: None if value is None else value.to(working).expand(batch) for name, value in scalars.items()}
        problem = cls(
            geometry=geometry,
            a=a.to(working).expand(*batch, -1),
            b=b.to(working).expand(*batch, -1),
            mass=held["mass"],
            price=held["price"],
            reg=held["reg"],
            formulation=formulation,
            dtype=dtype,
            lowest=torch.where(lowest.isfinite(), lowest, 0.0),
            highest=torch.where(highest.isfinite(), highest, 0.0),
            forbids=ranks.any(forbids),
        )
        _check_values(problem)
        return problem

    @property
    def is_balanced(self) -> bool:
        """Whether everything has to move."""
        return self.mass is None and self.price is None

    @property
    def batch_shape(self) -> torch.Size:
        """The leading dimensions, over which problems are independent."""
        return self.a.shape[:-1]

    @property
    def size(self) -> tuple[int, int]:
        """The number of source and of target nodes, (n, m)."""
        return self.geometry.size

    @property
    def ranks(self) -> Communicator:
        """Who else holds sources of this problem."""
        return self.geometry.ranks

    def totals(self) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
        """Give Σa and Σb in float64."""
        return self.ranks.sum(self.a.double().sum(-1)), self.b.double().sum(-1)

    def cost(self) -> Float[Tensor, "*batch n m"]:
        """Give the prices in the working type and the full batch shape."""
        return self.geometry.matrix().to(self.a.dtype).expand(*self.batch_shape, *self.size)

    def on(self, geometry: Geometry) -> "Problem":
        """Give the same problem with prices from another geometry of the same shape and type."""
        return replace(self, geometry=geometry)

    def flat_cost(self, rows: slice, room: Tensor | None = None) -> Float[Tensor, "flat rows m"]:
        """Give the prices of some sources in the working type, the batch flattened; one shared by all is stretched.

        Args:
            rows: Which sources.
            room: See `Geometry.block`.
        """
        block = self.geometry.block(rows, room).to(self.a.dtype)
        if block.shape[:-2].numel() == 1:
            return block.reshape(1, *block.shape[-2:]).expand(self.batch_shape.numel(), -1, -1)
        return block.expand(*self.batch_shape, *block.shape[-2:]).reshape(self.batch_shape.numel(), *block.shape[-2:])

    @cached_property
    def rooms(self) -> tuple[Tensor | None, Tensor | None]:
        """Memory that lazy prices, and what is computed from them, are written over one block after the other.

        Between blocks of their own, whatever small is kept would leave holes that no other block fits into.
        """
        return block_room(self.geometry), block_room(self.geometry)

    def row_blocks(self) -> list[slice]:
        """Cut the sources into blocks whose prices are evaluated together: one of all where they are stored."""
        return row_blocks(self.geometry)


def _check_values(problem: Problem) -> None:
    if problem.lowest.numel():
        check_range(float((problem.highest - problem.lowest).max()), problem.reg, problem.a.dtype)
    if problem.price is None:
        _check_mass(problem)
    elif not bool(problem.price.isfinite().all()):
        raise ValueError(
            f"`Price` must hold a finite number. Found {float(problem.price[~problem.price.isfinite()][0])}"
            f"{where(~problem.price.isfinite())}. Pass what a unit of mass may cost, or the `mass` itself."
        )


def _check_mass(problem: Problem) -> None:
    total_a, total_b = (total.detach() for total in problem.totals())
    # Totals may differ by rounding: some ulps of the user's type, more of them in long sums.
    nodes = max(problem.geometry.sources, problem.size[1], 1)
    tolerance = min(torch.finfo(problem.dtype).eps * (4 + math.sqrt(nodes)), 0.02)
    if problem.mass is None:
        wrong = (total_a - total_b).abs() > tolerance * torch.maximum(total_a, total_b)
        if bool(wrong.any()):
            raise InfeasibleProblemError(
                "`a` and `b` must have equal totals in balanced transport. Found "
                f"{float(total_a[wrong][0]):.9g} and {float(total_b[wrong][0]):.9g}{where(wrong)}. "
                "Pass `mass` to move only a part, or rescale one of them."
            )
        wanted = torch.minimum(total_a, total_b)
    else:
        wanted = problem.mass.detach().double()
        wrong = ~((wanted >= 0) & (wanted < torch.inf))
        if bool(wrong.any()):
            raise ValueError(
                f"`mass` must be finite and at least 0. Found `mass = {float(wanted[wrong][0]):.9g}`{where(wrong)}. "
                "Pass an absolute amount in the units of `a` and `b`."
            )
    least = torch.finfo(problem.a.dtype).tiny * torch.maximum(total_a, total_b)
    wrong = (wanted > 0) & (wanted < least)
    if bool(wrong.any()):
        raise ValueError(
            f"`mass` must be 0 or a part of the weights that {problem.a.dtype} can compute with. Found "
            f"`mass = {float(wanted[wrong][0]):.3g}`{where(wrong)}. Pass 0, or work in float64."
        )
    available = torch.minimum(total_a, total_b)
    _check_available(wanted, available, tolerance, "of `a.sum(-1)` and `b.sum(-1)`", "Pass a smaller `mass`.")
    if problem.forbids:
        remedy = "Allow more pairs by finite costs, or pass a smaller `mass`."
        whose = "total of the weights that `cost` allows to pair"
        _check_available(wanted, _reach(problem), tolerance, whose, remedy)


def _reach(problem: Problem) -> Float[Tensor, "*batch"]:
    """Give the smaller total of the weights that have an allowed partner with weight."""
    a, b = problem.a.detach().double(), problem.b.detach().double()
    ranks, reach_a, seen = problem.ranks, torch.zeros_like(a.sum(-1)), torch.zeros_like(b, dtype=torch.bool)
    for rows in problem.row_blocks():
        allowed = problem.geometry.block(rows).detach() < torch.inf
        reach_a = reach_a + (a[..., rows] * (allowed & (b > 0).unsqueeze(-2)).any(-1)).sum(-1)
        seen = seen | (allowed & (a[..., rows] > 0).unsqueeze(-1)).any(-2)
    return torch.minimum(ranks.sum(reach_a), (b * (ranks.sum(seen.double()) > 0)).sum(-1))


def _check_available(wanted: Tensor, available: Tensor, tolerance: float, whose: str, remedy: str) -> None:
    wrong = wanted > available * (1 + tolerance)
    if bool(wrong.any()):
        most = float(available[wrong][0])
        raise InfeasibleProblemError(
            f"The mass to move must not exceed the smaller {whose}. Found `mass = {float(wanted[wrong][0]):.9g}` where "
            f"at most {most:.9g} is available{where(wrong)}, {float(wanted[wrong][0]) - most:.3g} too much. {remedy}"
        )
