"""How Sinkhorn stops, what it says when it has not converged, and what the precisions give."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import partialot
from partialot.solvers import Status
from tests.partialot.problems import NamedProblem, random_problem
from tests.partialot.properties import SINKHORN, assert_finite, solve

UNCONVERGED = pytest.mark.filterwarnings("ignore::partialot.ConvergenceWarning")
FLOAT32_FLOOR = 1e-5
"""Marginal error that float32 must reach where the costs span ten times `reg`, relative to the mass."""


def true_error(plan: Tensor, problem: NamedProblem) -> Tensor:
    """Violation summed over the rows, over the columns, and of the mass: the largest, relative to the mass."""
    plan = plan.double()
    rows, columns = plan.sum(-1) - problem.a, plan.sum(-2) - problem.b
    if problem.mass is not None:
        rows, columns = rows.clamp(min=0), columns.clamp(min=0)
    amount = (plan.sum((-2, -1)) - problem.moved).abs()
    return torch.maximum(torch.maximum(rows.abs().sum(-1), columns.abs().sum(-1)), amount) / problem.moved


def in_dtype(problem: NamedProblem, dtype: torch.dtype, **options: Any) -> partialot.Solution:
    """Solve with every tensor of the problem in `dtype`."""
    return partialot.solve(
        problem.cost.to(dtype), problem.a.to(dtype), problem.b.to(dtype), mass=problem.mass, reg=problem.reg, **options
    )


@pytest.mark.parametrize("mass", [None, 0.6, 1e-6])
@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-9, 1e-12])
def test_converged_means_that_the_constraints_hold_within_tol(tol: float, mass: float | None) -> None:
    problem = random_problem(mass=mass, reg=0.02)
    solver = partialot.Sinkhorn(max_iter=50_000, tol=tol)
    solution = partialot.solve(problem.cost, problem.a, problem.b, mass=mass, reg=problem.reg, solver=solver)
    assert solution.converged
    assert solution.marginal_error <= tol
    assert true_error(solution.plan, problem) <= tol + 1e-14


@UNCONVERGED
@pytest.mark.parametrize("mass", [None, 0.6])
@pytest.mark.parametrize("max_iter", [0, 1, 2, 5])
def test_few_iterations_give_a_finite_plan_that_says_how_far_off_it_is(max_iter: int, mass: float | None) -> None:
    problem = random_problem(mass=mass, reg=0.02)
    solver = partialot.Sinkhorn(max_iter=max_iter, tol=1e-12)
    solution = partialot.solve(problem.cost, problem.a, problem.b, mass=mass, reg=problem.reg, solver=solver)
    assert not solution.converged
    assert solution.n_iter <= max_iter
    assert_finite(solution)
    assert_close(solution.marginal_error, true_error(solution.plan, problem), rtol=0.5, atol=1e-12)


def test_not_converging_warns_once_and_does_not_raise() -> None:
    cost = torch.rand(3, 5, 6, dtype=torch.float64)
    with pytest.warns(partialot.ConvergenceWarning, match=r"(?s)tol.*\. [A-Z]") as caught:
        solution = partialot.solve(cost, mass=0.5, reg=0.01, solver=partialot.Sinkhorn(max_iter=1, tol=1e-12))
    assert len(caught) == 1
    assert not solution.converged.any()


def test_a_hopeless_tolerance_stops_at_the_floor_of_the_precision() -> None:
    """It neither spins to max_iter nor claims what float32 cannot hold."""
    problem = random_problem(reg=0.05)
    solver = partialot.Sinkhorn(max_iter=100_000, tol=1e-30)
    with pytest.warns(partialot.ConvergenceWarning, match="tol"):
        solution = in_dtype(problem, torch.float32, solver=solver)
    assert not solution.converged
    assert solution.n_iter < 20_000
    assert solution.marginal_error <= FLOAT32_FLOOR


@pytest.mark.parametrize("mass", [None, 0.6, 1e-6])
def test_float32_reaches_its_floor(mass: float | None) -> None:
    problem = random_problem(n=40, m=50, mass=mass, reg=0.1)
    solver = partialot.Sinkhorn(max_iter=5_000, tol=FLOAT32_FLOOR)
    solution = in_dtype(problem, torch.float32, solver=solver)
    assert solution.converged
    assert solution.plan.dtype == torch.float32
    assert true_error(solution.plan, problem) <= 2 * FLOAT32_FLOOR


@pytest.mark.parametrize(("dtype", "accuracy"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)], ids=str)
def test_half_precisions_are_solved_in_float32_and_answered_in_kind(dtype: torch.dtype, accuracy: float) -> None:
    problem = random_problem(reg=0.1)
    rounded = in_dtype(problem, dtype, solver=partialot.Sinkhorn(max_iter=5_000, tol=1e-5))
    same = partialot.solve(
        *(tensor.to(dtype).double() for tensor in (problem.cost, problem.a, problem.b)), mass=0.6, reg=0.1
    )
    assert rounded.plan.dtype == rounded.value.dtype == dtype
    assert rounded.converged
    assert_close(rounded.plan.double(), same.plan, rtol=accuracy, atol=1e-6)


def test_each_problem_of_a_batch_stops_on_its_own() -> None:
    problem = random_problem()
    reg = torch.tensor([1.0, 0.02], dtype=torch.float64)
    batch = partialot.solve(problem.cost, problem.a, problem.b, mass=0.6, reg=reg, solver=SINKHORN)
    easy, hard = (solve(problem, reg=number.item()) for number in reg)
    assert batch.n_iter.tolist() == [easy.n_iter.item(), hard.n_iter.item()]
    assert batch.n_iter[0] < batch.n_iter[1]


def test_a_warm_start_from_the_solution_is_done_at_once() -> None:
    problem = random_problem(reg=0.02)
    cold = solve(problem)
    warm = partialot.solve(
        problem.cost, problem.a, problem.b, mass=0.6, reg=problem.reg, solver=partialot.Sinkhorn(tol=1e-9), init=cold
    )
    assert warm.n_iter <= 2 < cold.n_iter
    assert_close(warm.plan, cold.plan, rtol=0.0, atol=1e-9)


def test_a_warm_start_from_a_neighbour_saves_iterations_and_changes_no_answer() -> None:
    problem = random_problem(reg=0.02)
    cold = solve(problem)
    moved = problem.cost + 1e-4 * torch.rand_like(problem.cost)
    arguments = {"mass": 0.6, "reg": problem.reg, "solver": partialot.Sinkhorn(max_iter=20_000, tol=1e-6)}
    warm = partialot.solve(moved, problem.a, problem.b, **arguments, init=cold)
    fresh = partialot.solve(moved, problem.a, problem.b, **arguments)
    assert warm.n_iter < fresh.n_iter
    assert_close(warm.plan, fresh.plan, rtol=0.0, atol=1e-5)


@UNCONVERGED
def test_support_forced_to_vanish_leaves_the_potentials_bounded() -> None:
    """Block-triangular balanced problems have no interior: (0, 1) is allowed, but every plan leaves it empty."""
    cost = torch.tensor([[0.0, 0.0], [torch.inf, 0.0]], dtype=torch.float64)
    weights = torch.tensor([0.5, 0.5], dtype=torch.float64)
    solution = partialot.solve(cost, weights, weights, reg=0.1, solver=partialot.Sinkhorn(max_iter=2_000, tol=1e-9))
    assert_finite(solution)
    assert_close(solution.plan, torch.diag(weights), rtol=0.0, atol=max(2e-9, 2 * solution.marginal_error.item()))
    assert bool(solution.converged) == bool(solution.marginal_error <= 1e-9)
    assert solution.marginal_error <= 1e-2


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"max_iter": -1}, r"(?s)`max_iter.*-1.*\. [A-Z]"),
        ({"tol": -1.0}, r"(?s)`tol.*-1.*\. [A-Z]"),
        ({"tol": float("nan")}, r"(?s)`tol.*nan.*\. [A-Z]"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        partialot.Sinkhorn(**options)


@pytest.mark.filterwarnings("ignore::partialot.ConvergenceWarning")
@pytest.mark.parametrize("reg", [1e-3, 1e-4, 1e-6])
def test_converged_never_means_more_than_a_thousandth(reg: float) -> None:
    """Rounding at small `reg` loosens the default tolerance, yet never so far that anything passes."""
    solution = partialot.solve(torch.rand(30, 30), mass=0.5, reg=reg)
    assert solution.marginal_error <= 1e-3 or not solution.converged


def test_a_huge_price_that_nothing_pays_loosens_nothing() -> None:
    cost = torch.rand(30, 30)
    cost[0, 0] = 1e6
    assert_close(
        partialot.solve(cost, reg=0.05).value, partialot.solve(cost.double(), reg=0.05).value.float(), rtol=1e-3, atol=0
    )


def test_weights_ten_orders_apart_move_the_mass_in_float32() -> None:
    cost = torch.tensor([[5.0, 5.0], [0.0, 1.0], [1.0, 0.0]])
    solution = partialot.solve(cost, torch.tensor([1e10, 1.0, 1.0]), torch.ones(2), mass=1.5, reg=0.05)
    assert_close(solution.mass, torch.tensor(1.5))


def test_a_tolerance_below_the_rounding_of_the_type_is_never_said_to_be_met() -> None:
    """Sums of float32 may agree to the last bit without the plan being right to more than that."""
    solver = partialot.Sinkhorn(tol=1e-12)
    with pytest.warns(partialot.ConvergenceWarning):
        solution = partialot.solve(torch.rand(30, 30), reg=0.05, solver=solver)
    assert not bool(solution.converged)
    assert int(solution.status) == int(Status.PRECISION_FLOOR)
