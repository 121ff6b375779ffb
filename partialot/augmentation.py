"""Partial transport as balanced transport with one dummy node on each side: where dummies are added and taken out.

Moving exactly M between weights a and b is balanced transport between Ã = (a, Σb − M) and B̃ = (b, Σa − M) when the
cost is bordered by zeros and the pair of the two dummies is forbidden: what a source does not send goes to the dummy
target, at no price. Were the corner merely dear, mass t would leak into it and M + t would be moved. A dummy of weight
0 takes no part, so balanced problems and partial ones that move everything are the same case. (Caffarelli and McCann
2010; Chapel, Alaya and Gasso 2020; the corner: CMNet, equation 3.)
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from partialot.arrays import FloatArray
from partialot.errors import checks_its_inputs
from partialot.inputs import Price
from partialot.kernels import dispatch, reference
from partialot.kernels.primitives import Entries, Prices, Source
from partialot.potentials import RealPotentials
from partialot.problem import Problem

AT_CEILING = 1e-10
"""How far below its ceiling, in units of the regularisation, a capped potential counts as at it: some roundings."""


class AugmentedProblem(NamedTuple):
    """A balanced problem whose last row and column are the dummy nodes, written out in full."""

    cost: Float[Tensor, "*batch sources targets"]
    a: Float[Tensor, "*batch sources"]
    b: Float[Tensor, "*batch targets"]


@checks_its_inputs
def augment(
    cost: Float[Tensor, "*batch n m"] | FloatArray,
    a: Float[Tensor, "*#batch n"] | FloatArray | None = None,
    b: Float[Tensor, "*#batch m"] | FloatArray | None = None,
    mass: float | Float[Tensor, "*#batch"] | FloatArray | Price | None = None,
) -> AugmentedProblem:
    """Write the dummy-node problem out, for reading, teaching and tests; `solve` never builds it.

    Args:
        cost: Price of each pair; `inf` = forbidden.
        a: Mass at each source node; default uniform, total 1.
        b: Mass at each target node; likewise.
        mass: Total to move, in the units of `a` and `b`; None = balanced. A `Price` is taken off
            the cost.

    Returns:
        Cost, `a` and `b` with the dummy nodes last; the corner of the cost is `inf`, or 0 beside a price.
        Errors are those of `solve`.

    Example:
        >>> import torch
        >>> augment(torch.ones(1, 2), torch.tensor([1.0]), torch.tensor([0.5, 0.5]), mass=0.25).b
        tensor([0.5000, 0.5000, 0.7500])
    """
    problem = Problem.from_inputs(cost, a, b, mass=mass)
    dummy_a, dummy_b = (weight.to(problem.a.dtype) for weight in dummy_weights(problem))
    cost = problem.cost() if problem.price is None else problem.cost() - problem.price[..., None, None]
    bordered = torch.nn.functional.pad(cost, (0, 1, 0, 1))
    corner = torch.zeros_like(bordered, dtype=torch.bool)
    corner[..., -1, -1] = problem.price is None
    return AugmentedProblem(
        bordered.masked_fill(corner, torch.inf).to(problem.dtype),
        torch.cat((problem.a, dummy_a.unsqueeze(-1)), dim=-1).to(problem.dtype),
        torch.cat((problem.b, dummy_b.unsqueeze(-1)), dim=-1).to(problem.dtype),
    )


def dummy_weights(problem: Problem) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Give the weights Σb − M of the dummy source and Σa − M of the dummy target, in float64."""
    total_a, total_b = problem.totals()
    if problem.price is not None:
        return total_b, total_a
    if problem.mass is None:
        return torch.zeros_like(total_b), torch.zeros_like(total_a)
    mass, tolerance = problem.mass.double(), 8 * torch.finfo(torch.float64).eps
    left_b, left_a = total_b - mass, total_a - mass
    return (
        torch.where(left_b > tolerance * total_b, left_b, 0.0),
        torch.where(left_a > tolerance * total_a, left_a, 0.0),
    )


@dataclass(frozen=True, eq=False)
class BorderedProblem:
    """A flat batch of balanced problems of total 1 whose cost has a border of zeros with a forbidden corner.

    This is all that solvers and gradients see. Vectors over nodes carry the border's entry last: `sources` is n + 1,
    `targets` m + 1. Potentials are in units of the regularisation. Derivatives flow from the vectors back to the
    user's inputs by plain automatic differentiation.

    Attributes:
        problem: Where the prices come from, block by block where they are no matrix.
        a: Source weights over `total`, float64.
        b: Target weights over `total`, float64.
        mass: What the real block has to carry, over `total`, float64. Where mass has a price, the corner carries as
            much, and this is it at potentials of 0: mass · exp(f_d + g_d).
        total: Σa + Σb − M in the user's units, 1 where that is 0, float64.
        scale: What one unit of potentials is in the user's units, float64: the regularisation, or 1.
        shift: The smallest price, taken off first: exact, since the mass is fixed, and it saves digits. Constant. Where
            mass has a price, that.
    """

    problem: Problem
    a: Float[Tensor, "batch sources"]
    b: Float[Tensor, "batch targets"]
    mass: Float[Tensor, " batch"]
    total: Float[Tensor, " batch"]
    scale: Float[Tensor, " batch"]
    shift: Float[Tensor, " batch"]

    @cached_property
    def matrix(self) -> Float[Tensor, "batch n m"] | None:
        """All prices, without a graph; None where the geometry stores none."""
        if self.problem.geometry.is_lazy:
            return None
        cost = self.problem.flat_cost(slice(None)).detach()
        return cost if cost[:1].is_contiguous() else cost.contiguous()

    def row_blocks(self) -> list[slice]:
        """Cut the sources into blocks whose prices are evaluated together."""
        return self.problem.row_blocks()

    @torch.no_grad()
    def prices(self, rows: slice, unit: Float[Tensor, " batch"] | None = None) -> Prices:
        """Give the prices of some sources, without a graph, with their unit, by default one over the scale.

        Args:
            rows: Which sources.
            unit: Exponents per unit of cost.
        """
        cost = (
            self.problem.flat_cost(rows, self.problem.rooms[0]).detach()
            if self.matrix is None
            else self.matrix[:, rows]
        )
        return Prices(cost, 1 / self.scale.detach() if unit is None else unit, self.shift)

    def scaled_cost(self) -> Float[Tensor, "batch n m"]:
        """Give the matrix (cost − shift) / scale, differentiably; `inf` where a pair is forbidden."""
        cost = self.problem.flat_cost(slice(None))
        if not cost.numel():
            return cost
        # Infinities leave the arithmetic before it can turn them into NaN.
        forbidden = cost.detach() == torch.inf if self.problem.forbids else None
        cost = cost if forbidden is None else cost.masked_fill(forbidden, 0.0)
        shift, scale = (x.to(cost.dtype)[:, None, None] for x in (self.shift, self.scale))
        scaled = (cost - shift) / scale
        return scaled if forbidden is None else scaled.masked_fill(forbidden, torch.inf)

    def real_potentials(self, f: Float[Tensor, "batch sources"], g: Float[Tensor, "batch targets"]) -> RealPotentials:
        """Eliminate the dummies' potentials, and with them the constant that may be added to f and taken from g."""
        return RealPotentials(f[:, :-1] + g[:, -1:], g[:, :-1] + f[:, -1:], -(f[:, -1:] + g[:, -1:]))

    @torch.no_grad()
    def density(self, potentials: RealPotentials, rows: slice) -> Float[Tensor, "batch rows m"]:
        """Give some rows of the plan relative to the product of the weights, in the type of the prices."""
        prices = self.prices(rows)
        count = prices.cost.shape[0]
        source = torch.full((count,), int(Source.COST), dtype=torch.int8, device=prices.cost.device)
        room = self.problem.rooms[1]
        if room is None or room.numel() < prices.cost.numel():
            room = torch.empty(prices.cost.numel(), dtype=prices.cost.dtype, device=prices.cost.device)
        block = room[: prices.cost.numel()].view(prices.cost.shape)
        dispatch.write_out(Entries(prices, block, source, potentials.f[:, rows], potentials.g + potentials.mass))
        return block

    def surplus(self, potentials: RealPotentials, moved: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Give how far the whole plan's mass, border included, is above the total, over the total; 0 for a coupling.

        It is what the entropic dual subtracts; where the entropy is of the plan alone, that is what moves.
        """
        if self.problem.formulation == "capped":
            return moved / self.total
        kept = (self.a[:, :-1] * self.b[:, -1:] * reference.bounded_exp(potentials.f)).sum(-1)
        kept = self.problem.ranks.sum(kept)
        lacking = (self.a[:, -1:] * self.b[:, :-1] * reference.bounded_exp(potentials.g)).sum(-1)
        if self.problem.price is not None:
            lacking = lacking + self.corner(potentials)
        return moved / self.total + kept + lacking - (self.b.sum(-1) > 0).to(kept.dtype)

    def corner(self, potentials: RealPotentials) -> Float[Tensor, " batch"]:
        """Give what the pair of the dummies carries where it is allowed: at the optimum, as much as the real block."""
        return self.mass * reference.bounded_exp(-potentials.mass.squeeze(-1))

    def binding(
        self, potentials: RealPotentials
    ) -> tuple[tuple[Bool[Tensor, "batch n"], Bool[Tensor, "batch m"]], tuple[Tensor, Tensor]]:
        """Tell which sources and which targets obey an equation, and which sides leave anything behind.

        Next to dummies all do. Capped nodes do where their potential is below its ceiling; the others have room left.
        """
        sides = (potentials.f, self.a.detach()), (potentials.g, self.b.detach())
        if self.problem.formulation == "capped":
            # An empty node has no ceiling: its potential is implied by the others.
            bound = tuple(part < -side[:, :-1].log() - AT_CEILING for part, side in sides)
            return (bound[0], bound[1]), ((~bound[0]).any(-1, keepdim=True), (~bound[1]).any(-1, keepdim=True))
        bound = tuple(torch.ones_like(part, dtype=torch.bool) for part, _ in sides)
        return (bound[0], bound[1]), (sides[1][1][:, -1:] > 0, sides[0][1][:, -1:] > 0)

    def spent(self, amounts: Float[Tensor, "batch rows m"], rows: slice) -> Float[Tensor, " batch"]:
        """Give Σ amounts · (cost − shift) / scale over some rows, without a graph; forbidden pairs have no amount."""
        prices = self.prices(rows)
        cost = prices.cost.masked_fill(prices.cost == torch.inf, 0.0) if self.problem.forbids else prices.cost
        priced = torch.einsum("bij,bij->b", amounts, cost).double() - self.shift * amounts.sum((-2, -1)).double()
        return priced * prices.unit


def add_dummy_nodes(problem: Problem) -> BorderedProblem:
    """Turn a problem into its balanced form of total 1, differentiably."""
    dummy_a, dummy_b = dummy_weights(problem)
    a = torch.cat((problem.a.double(), dummy_a.unsqueeze(-1)), dim=-1)
    b = torch.cat((problem.b.double(), dummy_b.unsqueeze(-1)), dim=-1)
    total_a = problem.ranks.sum(a[..., :-1].sum(-1, keepdim=True)) + a[..., -1:]
    total_b = b.sum(-1, keepdim=True)
    total = (total_a + total_b) / 2
    nothing = total <= 0
    safe = torch.where(nothing, 1.0, total)
    # Each side by its own sum: totals that agree but for rounding become equal.
    a, b = a / torch.where(nothing, 1.0, total_a), b / torch.where(nothing, 1.0, total_b)
    mass = problem.ranks.sum(a[..., :-1].sum(-1))
    if problem.mass is not None:
        # A side without a dummy sends all it has: its own sum agrees with its weights to the last digit, `mass` need
        # not.
        part = torch.where(dummy_a == 0, b[..., :-1].sum(-1), problem.mass.double() / safe.squeeze(-1))
        mass = torch.where(dummy_b == 0, mass, part)
    shift = problem.lowest
    scale = torch.ones_like(mass) if problem.reg is None else problem.reg.double()
    if problem.price is not None:
        # Prices are counted from that of mass: the corner is then free, and only its derivative knows of the price.
        shift = problem.price.detach().double()
        mass = a[..., -1] * b[..., -1] * ((problem.price.double() - shift) / scale.detach()).exp()
    count, (n, m) = problem.batch_shape.numel(), problem.size
    return BorderedProblem(
        problem=problem,
        a=a.reshape(count, n + 1),
        b=b.reshape(count, m + 1),
        mass=mass.reshape(count),
        total=safe.reshape(count),
        scale=scale.reshape(count),
        # A price that all share is stretched; kernels read one for each problem.
        shift=shift.reshape(count).contiguous(),
    )
