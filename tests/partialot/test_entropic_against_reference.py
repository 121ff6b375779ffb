"""Sinkhorn against an independent solution of the dummy-node problem: annealed Newton steps on its dual."""

import pytest
import torch
from hypothesis import given, settings
from torch.testing import assert_close

from tests.partialot.oracles import EntropicOptimum, solve_entropic
from tests.partialot.problems import PROBLEMS, NamedProblem, partial_problems
from tests.partialot.properties import SINKHORN_TOLERANCE, assert_solves, solve

PLAN_TOLERANCE = 1e-8
"""Of the plan, relative to the mass: what marginal errors of 1e-12 leave where the problem is poorly conditioned."""
SUBTRACTION = 1e-15
"""The reference forms Σa − M: relative to the mass, its own error is this times Σa / M."""

COMPARABLE = [p for p in PROBLEMS if max(p.a.sum().item(), p.b.sum().item()) <= 1e5 * p.moved]
"""The named cases that the materialised reference can hold in float64; closed forms judge the tiny masses."""


def reference(problem: NamedProblem) -> EntropicOptimum:
    """The optimum by other means."""
    return solve_entropic(problem.cost.numpy(), problem.a.numpy(), problem.b.numpy(), problem.mass, problem.reg)


def assert_optimal(problem: NamedProblem) -> None:
    """Plan, objective and its two parts are those of the reference, and the derivative in `reg` is the divergence."""
    solution, optimum = solve(problem), reference(problem)
    assert_solves(solution, problem, rtol=SINKHORN_TOLERANCE)
    unit = problem.moved * (1.0 + SUBTRACTION * (problem.a.sum() + problem.b.sum()).item() / problem.moved)
    assert_close(solution.plan, torch.tensor(optimum.plan), rtol=0.0, atol=PLAN_TOLERANCE * unit)
    size = max(problem.scale, problem.reg) * (problem.a.sum() + problem.b.sum()).item()
    assert_close(solution.value.item(), optimum.value, rtol=1e-10, atol=1e-12 * size)
    assert_close(solution.value_linear.item(), optimum.value_linear, rtol=PLAN_TOLERANCE, atol=1e-10 * size)


@pytest.mark.parametrize("problem", COMPARABLE, ids=str)
def test_named_cases_have_the_optimum_of_the_reference(problem: NamedProblem) -> None:
    assert_optimal(problem)


@settings(max_examples=120)
@given(partial_problems(smallest_fraction=1e-3, full=False))
def test_drawn_problems_have_the_optimum_of_the_reference(problem: NamedProblem) -> None:
    assert_optimal(problem)


@settings(max_examples=200)
@given(partial_problems(full=False))
def test_mass_is_exact_to_ten_digits_however_little_it_is(problem: NamedProblem) -> None:
    assert_solves(solve(problem), problem, rtol=SINKHORN_TOLERANCE)


@pytest.mark.parametrize("problem", COMPARABLE, ids=str)
def test_value_is_the_potentials_against_the_weights(problem: NamedProblem) -> None:
    """Duality: value = ⟨a, ∂a⟩ + ⟨b, ∂b⟩ + M ∂M, the value being homogeneous of degree one in all three."""
    a, b = problem.a.clone().requires_grad_(), problem.b.clone().requires_grad_()
    mass = None if problem.mass is None else torch.tensor(problem.mass, dtype=torch.float64, requires_grad=True)
    solution = solve(problem, a=a, b=b, mass=mass)
    solution.value.backward()
    assert a.grad is not None
    assert b.grad is not None
    total = problem.a @ a.grad + problem.b @ b.grad
    if mass is not None:
        assert mass.grad is not None
        total = total + mass.detach() * mass.grad
    size = max(problem.scale, problem.reg) * (problem.a.sum() + problem.b.sum()).item()
    assert_close(total.item(), solution.value.item(), rtol=1e-9, atol=1e-11 * size)


@pytest.mark.parametrize("ratio", [0.3, 0.1, 0.05])
def test_the_entropic_plan_tends_to_the_cheapest_plan(ratio: float) -> None:
    """⟨C, P⟩ lies between the optimum and the optimum plus reg times the entropy at stake."""
    problem = next(p for p in PROBLEMS if p.name == "partial")
    cheapest = solve(problem, "ExactLP").value
    linear = solve(problem, reg=ratio * problem.reg).value_linear
    assert cheapest - 1e-12 <= linear <= cheapest + ratio * problem.reg * 2.0 * torch.tensor(56.0).log()
