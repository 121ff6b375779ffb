"""Prices of inf: a plan that avoids them is found, and where there is none, nothing is passed off as one."""

from math import inf

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import partialot
from tests.partialot.oracles import largest_mass, solve_by_highs
from tests.partialot.problems import costs, random_problem, weights
from tests.partialot.properties import SOLVERS, assert_finite, reg_for, solve

pytestmark = pytest.mark.timeout(60)
BOTH = pytest.mark.parametrize("solver", SOLVERS)


@st.composite
def crowded(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Whole weights and prices of which some are inf, with the most that can move: less than the weights hold."""
    n, m = draw(st.integers(2, 6)), draw(st.integers(2, 6))
    cost, a, b = draw(costs(n, m)), draw(weights(n)), draw(weights(m))
    closed = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, m - 1)), min_size=n, max_size=n * m))
    for pair in closed:
        cost[pair] = inf
    movable = largest_mass(cost, a, b)
    assume(0 < movable < min(a.sum(), b.sum()))
    return cost, a, b, movable


@settings(max_examples=60)
@given(drawn=crowded())
def test_the_exact_solver_refuses_exactly_where_no_plan_exists(
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray, int],
) -> None:
    """Judged by a maximum flow: all of it can be moved, and one unit more cannot."""
    cost, a, b, movable = drawn
    tensors = [torch.from_numpy(part) for part in (cost, a, b)]
    optimum = solve_by_highs(cost, a, b, float(movable)).value
    solution = partialot.solve(*tensors, mass=float(movable))
    assert_close(solution.value.item(), optimum, rtol=1e-9, atol=1e-9 * movable)
    assert (solution.plan[tensors[0].isinf()] == 0).all()
    with pytest.raises(partialot.InfeasibleProblemError, match=r"(?s)Found .*\. Allow more pairs"):
        partialot.solve(*tensors, mass=float(movable) + 1.0)


@pytest.mark.filterwarnings("ignore::partialot.ConvergenceWarning")
@settings(max_examples=20)
@given(drawn=crowded())
def test_the_regularised_solver_never_calls_an_impossible_problem_converged(
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray, int],
) -> None:
    cost, a, b, movable = drawn
    tensors = [torch.from_numpy(part) for part in (cost, a, b)]
    finite = cost[np.isfinite(cost)]
    reg = 0.1 * float(np.ptp(finite) or 1.0)
    solver = partialot.Sinkhorn(max_iter=60, tol=1e-3)
    try:
        solution = partialot.solve(*tensors, mass=float(movable) + 1.0, reg=reg, solver=solver)
    except partialot.InfeasibleProblemError:
        return
    assert not solution.converged
    assert solution.marginal_error > 1e-3
    assert (solution.plan[tensors[0].isinf()] == 0).all()
    assert_finite(solution)


@BOTH
def test_a_support_that_is_forced_to_vanish_has_its_limit_for_a_plan(solver: str) -> None:
    """Block-triangular balanced problems have one plan; the entropic potentials diverge towards it."""
    cost = torch.tensor([[0.3, 0.1, 0.2], [inf, 0.5, 0.4], [inf, inf, 0.6]], dtype=torch.float64)
    third = torch.full((3,), 1.0 / 3.0, dtype=torch.float64)
    if solver == "ExactLP":
        assert_close(partialot.solve(cost, third, third).plan, torch.diag(third), rtol=0.0, atol=1e-15)
        return
    # Newton steps follow the potentials so far that the tolerance is met.
    sweeps = partialot.Sinkhorn(max_iter=200, tol=1e-9, newton=False)
    with pytest.warns(partialot.ConvergenceWarning, match=r"Found .* of the mass"):
        solution = partialot.solve(cost, third, third, reg=0.1, solver=sweeps)
    assert_finite(solution)
    assert_close(solution.plan, torch.diag(third), rtol=0.0, atol=2 * solution.marginal_error.item())


@pytest.mark.parametrize("mass", [None, 0.6])
def test_exact_gradients_beside_forbidden_pairs_are_finite_and_zero_there(mass: float | None) -> None:
    problem = random_problem(mass=mass)
    cost = problem.cost.clone()
    cost[0, 0] = cost[1, 3] = inf
    a, b = (side.clone().requires_grad_() for side in (problem.a, problem.b))
    solution = solve(problem, "ExactLP", cost=cost.requires_grad_(), a=a, b=b)
    gradients = torch.autograd.grad(solution.value, (cost, a, b))
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert (gradients[0][cost.detach().isinf()] == 0).all()
    assert_close(gradients[0], solution.plan.detach(), rtol=0.0, atol=1e-15)


@BOTH
def test_no_mass_needs_no_allowed_pair(solver: str) -> None:
    problem = random_problem(mass=0.0)
    solution = solve(problem, solver, cost=torch.full_like(problem.cost, inf))
    assert (solution.plan == 0).all()
    assert solution.value_linear == 0
    assert solution.converged


@BOTH
@pytest.mark.parametrize("mass", [None, 0.6])
def test_a_pair_too_dear_to_use_is_as_good_as_forbidden(solver: str, mass: float | None) -> None:
    """Forbidding is the limit of a growing price: the plans agree to rounding."""
    problem = random_problem(mass=mass)
    dear, closed = problem.cost.clone(), problem.cost.clone()
    dear[0, 0], closed[0, 0] = 1e4, inf
    plans = [solve(problem, solver, cost=cost).plan for cost in (dear, closed)]
    assert_close(plans[0], plans[1], rtol=0.0, atol=1e-9)


@BOTH
def test_one_infeasible_problem_of_a_batch_is_named(solver: str) -> None:
    cost = torch.rand(3, 4, 5)
    cost[1, :, :] = inf
    cost[1, 0, 0] = 0.5
    with pytest.raises(partialot.InfeasibleProblemError, match=r"problem 1"):
        partialot.solve(cost, mass=0.9, reg=reg_for(solver, 0.1))
