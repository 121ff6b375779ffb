"""Rounding moves any plan to a feasible one, and a feasible one not at all."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import partialot
from partialot.rerouting import reroute
from partialot.rounding import round_plan, round_plan_around

SIZE = (3, 5, 6)
"""A batch of three problems."""


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Uniform numbers in [0, 1], the same every time."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights() -> tuple[Tensor, Tensor]:
    """Uneven weights of total 1, one of them 0 on each side."""
    a, b = drawn(3, 5, seed=1), drawn(3, 6, seed=2)
    a[:, 1], b[:, 4] = 0.0, 0.0
    return a / a.sum(-1, keepdim=True), b / b.sum(-1, keepdim=True)


def assert_feasible(plan: Tensor, a: Tensor, b: Tensor, mass: Tensor) -> None:
    """P ≥ 0, P1 ≤ a, Pᵀ1 ≤ b, 1ᵀP1 = M, to rounding."""
    assert (plan >= 0).all()
    assert (plan.sum(-1) <= a + 1e-15).all()
    assert (plan.sum(-2) <= b + 1e-15).all()
    assert_close(plan.sum((-2, -1)), mass, rtol=1e-14, atol=0.0)


@pytest.mark.parametrize("mass", [1.0, 0.3, 1e-9])
@pytest.mark.parametrize("scale", [0.0, 1e-12, 0.01, 1.0, 1e12])
def test_any_plan_becomes_feasible(scale: float, mass: float) -> None:
    a, b = weights()
    moved = torch.full((3,), mass, dtype=torch.float64)
    assert_feasible(round_plan(scale * drawn(*SIZE), a, b, moved), a, b, moved)


@pytest.mark.parametrize("mass", [1.0, 0.3])
def test_a_feasible_plan_stays_as_it_is(mass: float) -> None:
    a, b = weights()
    moved = torch.full((3,), mass, dtype=torch.float64)
    plan = mass * a.unsqueeze(-1) * b.unsqueeze(-2)
    assert_close(round_plan(plan.clone(), a, b, moved), plan, rtol=1e-14, atol=1e-17)
    nowhere = torch.zeros(SIZE, dtype=torch.bool)
    assert_close(round_plan_around(nowhere, plan.clone(), a, b, moved), plan, rtol=1e-14, atol=1e-17)


def test_forbidden_pairs_are_emptied_and_their_mass_goes_where_there_is_room() -> None:
    a, b = weights()
    forbidden = drawn(*SIZE, seed=3) < 0.3
    moved = torch.full((3,), 0.3, dtype=torch.float64)
    plan = round_plan_around(forbidden, drawn(*SIZE), a, b, moved)
    assert (plan[forbidden] == 0).all()
    assert_feasible(plan, a, b, moved)


def test_only_plans_that_lack_mass_are_replaced() -> None:
    """The second plan fills a pair that must make room for the third node; the first is fine."""
    cost = torch.zeros(2, 2, 2, dtype=torch.float64)
    cost[:, 1, 1] = torch.inf
    ones = torch.ones(2, 2, dtype=torch.float64)
    problem = partialot.Problem.from_inputs(cost, ones, ones)
    swap, stuck = [[0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]]
    plan = torch.tensor([swap, stuck], dtype=torch.float64)
    assert reroute(problem, plan, ones, ones, ones.sum(-1)).all()
    assert_close(plan, torch.tensor([swap, swap], dtype=torch.float64))
