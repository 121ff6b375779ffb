"""The problems that tests solve: named hard cases as data, and strategies that draw others."""

from dataclasses import dataclass, replace
from functools import partial
from math import inf

import numpy as np
import torch
from hypothesis import assume
from hypothesis import strategies as st
from torch import Tensor

from tests.partialot.oracles import largest_mass

LARGEST_SIDE = 8
"""Nodes on a side of a drawn problem: enough for ties, zero weights and forbidden pairs to meet."""


@dataclass(frozen=True)
class NamedProblem:
    """One problem, unbatched and in float64; `mass=None` is balanced."""

    name: str
    cost: Tensor
    a: Tensor
    b: Tensor
    mass: float | None
    reg: float

    def __str__(self) -> str:
        """Name the case in the report of the tests."""
        return self.name

    @property
    def moved(self) -> float:
        """Mass that a plan must move."""
        return self.a.sum().item() if self.mass is None else self.mass

    @property
    def scale(self) -> float:
        """Largest price, in size; 1 where every pair is free."""
        finite = self.cost[self.cost.isfinite()].abs()
        return max(finite.max().item(), 0.0) or 1.0 if finite.numel() else 1.0


def random_problem(
    name: str = "random", n: int = 6, m: int = 7, *, seed: int = 0, mass: float | None = 0.6, reg: float = 0.1
) -> NamedProblem:
    """Uniform costs in [0, 1]; weights between 0.5 and 1.5 of the mean, total 1."""
    generator = torch.Generator().manual_seed(seed)
    cost, a, b = (torch.rand(shape, generator=generator, dtype=torch.float64) for shape in ((n, m), (n,), (m,)))
    return NamedProblem(name, cost, (a + 0.5) / (a + 0.5).sum(), (b + 0.5) / (b + 0.5).sum(), mass, reg)


def _with(base: NamedProblem, name: str, **changes: Tensor | float | None) -> NamedProblem:
    return replace(base, name=name, **changes)  # pyright: ignore[reportArgumentType]


def _emptied(weights: Tensor, *nodes: int) -> Tensor:
    """The same weights with nothing at `nodes`, what was there spread over the others."""
    emptied = weights.clone()
    emptied[list(nodes)] = 0.0
    return emptied * (weights.sum() / emptied.sum())


def _forbidding(cost: Tensor, *pairs: tuple[int, int]) -> Tensor:
    forbidden = cost.clone()
    for pair in pairs:
        forbidden[pair] = inf
    return forbidden


_PARTIAL = random_problem()
_BALANCED = random_problem(mass=None)
_BLOCKED = _forbidding(_PARTIAL.cost, (0, 0), (1, 3), (2, 3), (5, 6))
_ROW_BLOCKED = _forbidding(_PARTIAL.cost, *((2, j) for j in range(7)))

PARTIAL_PROBLEMS = (
    _with(_PARTIAL, "partial"),
    _with(_PARTIAL, "mass_small", mass=1e-3),
    _with(_PARTIAL, "mass_tiny", mass=1e-8),
    _with(_PARTIAL, "mass_near_full", mass=1.0 - 1e-6),
    _with(_PARTIAL, "mass_full_of_the_smaller_side", a=0.7 * _PARTIAL.a, mass=0.7 * _PARTIAL.a.sum().item()),
    _with(_PARTIAL, "mass_full_of_both_sides", mass=1.0),
    _with(_PARTIAL, "weights_zero", a=_emptied(_PARTIAL.a, 1, 4), b=_emptied(_PARTIAL.b, 0, 6)),
    _with(_PARTIAL, "weights_unequal_totals", a=3.0 * _PARTIAL.a, b=0.8 * _PARTIAL.b),
    _with(_PARTIAL, "source_holds_a_million_times_more", a=1e6 * _PARTIAL.a),
    _with(_PARTIAL, "masses_huge", a=1e12 * _PARTIAL.a, b=1e12 * _PARTIAL.b, mass=0.6e12),
    _with(_PARTIAL, "masses_small", a=1e-6 * _PARTIAL.a, b=1e-6 * _PARTIAL.b, mass=0.6e-6),
    _with(_PARTIAL, "cost_negative", cost=_PARTIAL.cost - 2.0),
    _with(_PARTIAL, "cost_mixed_sign", cost=_PARTIAL.cost - 0.5),
    _with(_PARTIAL, "cost_zero", cost=torch.zeros_like(_PARTIAL.cost)),
    _with(_PARTIAL, "cost_constant", cost=torch.full_like(_PARTIAL.cost, -1.5)),
    _with(_PARTIAL, "cost_offset", cost=_PARTIAL.cost + 1e4),
    _with(_PARTIAL, "cost_huge", cost=1e12 * _PARTIAL.cost, reg=1e11),
    _with(_PARTIAL, "cost_minute", cost=1e-12 * _PARTIAL.cost, reg=1e-13),
    _with(_PARTIAL, "cost_tied", cost=(3.0 * _PARTIAL.cost).round()),
    _with(_PARTIAL, "cost_nearly_tied", cost=(3.0 * _PARTIAL.cost).round() + 1e-9 * _PARTIAL.cost),
    _with(_PARTIAL, "forbidden_pairs", cost=_BLOCKED),
    _with(_PARTIAL, "forbidden_row", cost=_ROW_BLOCKED),
    random_problem("one_pair", 1, 1, mass=0.4),
    random_problem("one_source", 1, 5, mass=0.4),
    random_problem("one_target", 5, 1, mass=0.4),
    random_problem("more_sources_than_targets", 9, 3),
)
"""Hard cases of partial transport, each feasible with room to spare unless its name says otherwise."""

BALANCED_PROBLEMS = (
    _with(_BALANCED, "balanced"),
    _with(_BALANCED, "balanced_weights_zero", a=_emptied(_BALANCED.a, 1, 4), b=_emptied(_BALANCED.b, 0, 6)),
    _with(_BALANCED, "balanced_forbidden_pairs", cost=_BLOCKED),
    _with(_BALANCED, "balanced_masses_huge", a=1e12 * _BALANCED.a, b=1e12 * _BALANCED.b),
    _with(_BALANCED, "balanced_cost_negative", cost=_BALANCED.cost - 2.0),
    random_problem("balanced_one_pair", 1, 1, mass=None),
    random_problem("balanced_one_source", 1, 5, mass=None),
)
"""The same for balanced transport."""

PROBLEMS = PARTIAL_PROBLEMS + BALANCED_PROBLEMS

_integers = partial(st.integers, 0)


@st.composite
def weights(draw: st.DrawFn, size: int) -> np.ndarray:
    """Whole weights, zeros among them, at least one positive: sums and optima of such problems are exact."""
    drawn = np.array(draw(st.lists(_integers(9), min_size=size, max_size=size)), dtype=np.float64)
    assume(drawn.sum() > 0)
    return drawn


@st.composite
def costs(draw: st.DrawFn, n: int, m: int) -> np.ndarray:
    """Costs of any sign: few whole numbers (ties), many, or reals; now and then with forbidden pairs."""
    prices = draw(
        st.sampled_from([st.integers(-2, 2), st.integers(-99, 99), st.floats(-1, 1, allow_subnormal=False, width=32)])
    )
    drawn = np.array(draw(st.lists(prices, min_size=n * m, max_size=n * m)), dtype=np.float64).reshape(n, m)
    if draw(st.booleans()):
        blocked = draw(st.lists(st.tuples(_integers(n - 1), _integers(m - 1)), max_size=max(n, m)))
        for pair in blocked:
            drawn[pair] = np.inf
    return drawn


@st.composite
def partial_problems(draw: st.DrawFn, *, smallest_fraction: float = 1e-8, full: bool = True) -> NamedProblem:
    """Feasible partial problems whose mass goes from a tiny part of what can move up to all of it.

    Args:
        draw: Hypothesis' hand.
        smallest_fraction: Least part of the movable mass that may be asked for.
        full: Whether all of it may be asked for, where the entropic problem can lose its interior.
    """
    n, m = draw(st.integers(1, LARGEST_SIDE)), draw(st.integers(1, LARGEST_SIDE))
    cost, a, b = draw(costs(n, m)), draw(weights(n)), draw(weights(m))
    movable = largest_mass(cost, a, b)
    assume(movable > 0)
    fractions = [smallest_fraction, 0.01, 0.25, 0.5, 0.9] + ([1.0] if full else [])
    mass = movable * draw(st.sampled_from(fractions) | st.floats(max(smallest_fraction, 1e-3), 0.95))
    reg = draw(st.sampled_from([0.05, 0.2, 1.0, 10.0])) * float(np.ptp(cost[np.isfinite(cost)]) or 1.0)
    return NamedProblem("drawn", torch.tensor(cost), torch.tensor(a), torch.tensor(b), mass, reg)


@st.composite
def balanced_problems(draw: st.DrawFn) -> NamedProblem:
    """Feasible balanced problems: the weights are the marginals of a drawn plan, which avoids forbidden pairs."""
    n, m = draw(st.integers(1, LARGEST_SIDE)), draw(st.integers(1, LARGEST_SIDE))
    cost = draw(costs(n, m))
    plan = np.array(draw(st.lists(_integers(3), min_size=n * m, max_size=n * m)), dtype=np.float64).reshape(n, m)
    plan[~np.isfinite(cost)] = 0.0
    assume(plan.sum() > 0)
    reg = draw(st.sampled_from([0.05, 0.2, 1.0])) * float(np.ptp(cost[np.isfinite(cost)]) or 1.0)
    weights_a, weights_b = torch.tensor(plan.sum(1)), torch.tensor(plan.sum(0))
    return NamedProblem("drawn", torch.tensor(cost), weights_a, weights_b, None, reg)


@dataclass(frozen=True)
class Batch:
    """A broadcasting call: each argument with leading dimensions of its own, and the shape they make together."""

    cost: Tensor
    a: Tensor
    b: Tensor
    mass: Tensor
    reg: Tensor
    shape: tuple[int, ...]

    def problem(self, index: tuple[int, ...]) -> NamedProblem:
        """The one problem at `index` of the broadcast shape."""
        cost, a, b = (
            tensor.expand(*self.shape, *tensor.shape[-kept:])[index].contiguous()
            for tensor, kept in ((self.cost, 2), (self.a, 1), (self.b, 1))
        )
        mass, reg = (tensor.expand(self.shape)[index].item() for tensor in (self.mass, self.reg))
        return NamedProblem(f"batch{index}", cost, a, b, mass, reg)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Broadcasting batches: any argument may lack leading dimensions or have them of size 1."""
    shape = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=2)))
    n, m = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    generator = torch.Generator().manual_seed(draw(_integers(999)))

    def leading() -> tuple[int, ...]:
        kept = shape[draw(st.integers(0, len(shape))) :]
        return tuple(draw(st.sampled_from([size, 1])) for size in kept)

    cost, a, b, mass, reg = (
        torch.rand((*leading(), *own), generator=generator, dtype=torch.float64) for own in ((n, m), (n,), (m,), (), ())
    )
    a, b = (a + 0.2) / (a + 0.2).sum(-1, keepdim=True), (b + 0.2) / (b + 0.2).sum(-1, keepdim=True)
    return Batch(cost, a, b, 0.05 + 0.9 * mass, 0.05 + reg, shape)
