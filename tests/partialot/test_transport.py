"""`solve` on every named case and shape: the plan is feasible, moves the mass, and leaves alone what takes no part."""

from math import inf

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import partialot
from tests.partialot.problems import PARTIAL_PROBLEMS, PROBLEMS, NamedProblem, random_problem
from tests.partialot.properties import SINKHORN, SOLVERS, TOLERANCES, assert_finite, assert_solves, reg_for, solve

BOTH = pytest.mark.parametrize("solver", SOLVERS)
SAME = 1e-9
"""Two ways of writing one problem agree to what tol 1e-12 leaves of the plan."""


@BOTH
@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_every_named_case_is_solved(problem: NamedProblem, solver: str) -> None:
    assert_solves(solve(problem, solver), problem, rtol=TOLERANCES[solver])


@BOTH
@pytest.mark.parametrize("mass", [None, 0.6])
def test_zero_weight_nodes_change_nothing_for_the_others(solver: str, mass: float | None) -> None:
    problem = random_problem(mass=mass)
    a, b = torch.nn.functional.pad(problem.a, (1, 1)), torch.nn.functional.pad(problem.b, (2, 0))
    cost = torch.nn.functional.pad(problem.cost, (2, 0, 1, 1), value=-3.0)
    padded, bare = solve(problem, solver, cost=cost, a=a, b=b), solve(problem, solver)
    assert_close(padded.value, bare.value, rtol=SAME, atol=0.0)
    assert_close(padded.plan[1:-1, 2:], bare.plan, rtol=0.0, atol=SAME)
    assert (padded.plan[[0, -1]] == 0).all()
    assert (padded.plan[:, :2] == 0).all()
    assert_finite(padded)


@BOTH
def test_mass_zero_is_the_empty_plan(solver: str) -> None:
    """What is left of the objective is the divergence of the two dummies, Σa·log(T/Σa) + Σb·log(T/Σb)."""
    problem = random_problem(mass=0.0)
    solution = solve(problem, solver)
    assert (solution.plan == 0).all()
    assert solution.value_linear == 0
    divergence = 2 * torch.tensor(2.0, dtype=torch.float64).log() if SOLVERS[solver].entropic else 0.0
    assert_close(solution.value.item(), float(problem.reg * divergence), rtol=1e-12, atol=0.0)
    assert solution.converged
    assert_close(solution.slack_a, problem.a)
    assert_finite(solution)


@BOTH
def test_balanced_transport_of_nothing_is_the_empty_plan(solver: str) -> None:
    problem = random_problem(mass=None)
    solution = solve(problem, solver, a=torch.zeros_like(problem.a), b=torch.zeros_like(problem.b))
    assert (solution.plan == 0).all()
    assert solution.value == 0
    assert_finite(solution)


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_full_mass_may_be_off_by_the_rounding_of_a_sum(solver: str, dtype: torch.dtype) -> None:
    cost = torch.rand(60, 60, dtype=dtype)
    weights = torch.full((60,), 1.0 / 60.0, dtype=dtype)
    exact = weights.sum()
    infinity = torch.tensor(inf, dtype=dtype)
    for mass in (
        exact,
        torch.nextafter(exact, infinity),
        torch.nextafter(exact, -infinity),
        torch.ones((), dtype=dtype),
    ):
        reg = reg_for(solver, 0.1)
        solution = partialot.solve(cost, weights, weights, mass=mass, reg=reg)
        assert_close(solution.plan.sum(), exact, rtol=64 * torch.finfo(dtype).eps, atol=0.0)


def test_full_mass_tends_to_the_balanced_plan() -> None:
    """The distance shrinks in proportion to what is left behind."""
    balanced = solve(random_problem(mass=None)).plan
    distances = [(solve(random_problem(mass=1.0 - left)).plan - balanced).abs().sum() for left in (1e-2, 1e-4, 1e-6)]
    assert distances[1] < 0.02 * distances[0]
    assert distances[2] < 0.02 * distances[1]


def test_tiny_mass_tends_to_the_softmin_of_all_pairs() -> None:
    """Where nothing binds, P / M → aᵢ bⱼ exp(−Cᵢⱼ / reg) / Z, in closed form."""
    problem = random_problem(mass=1e-9, reg=0.3)
    kernel = problem.a[:, None] * problem.b * torch.exp(-problem.cost / problem.reg)
    assert_close(solve(problem).plan / 1e-9, kernel / kernel.sum(), rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("mass", [0.5, 1e-8, 1e-30, 1e-300])
def test_tiny_masses_take_no_more_iterations_than_half(mass: float) -> None:
    half, tiny = solve(random_problem(mass=0.5)), solve(random_problem(mass=mass))
    assert tiny.converged
    assert tiny.n_iter <= half.n_iter + 5
    assert_close(tiny.plan.sum().item() / mass, 1.0, rtol=1e-10, atol=0.0)


@pytest.mark.parametrize("factor", [1.0, 1e6, 1e8])
def test_a_large_surplus_loses_no_mass(factor: float) -> None:
    """Σa − M must not be formed where M disappears in it."""
    problem = random_problem(mass=1e-6)
    solution = solve(problem, a=factor * problem.a)
    assert solution.converged
    assert_close(solution.plan.sum().item(), 1e-6, rtol=1e-10, atol=0.0)


@BOTH
def test_constant_costs_give_the_value_mass_times_cost(solver: str) -> None:
    problem = next(problem for problem in PARTIAL_PROBLEMS if problem.name == "cost_constant")
    solution = solve(problem, solver)
    assert_close(solution.value_linear.item(), -1.5 * problem.moved, rtol=1e-10, atol=0.0)
    if SOLVERS[solver].entropic:
        assert_rank_one(solution.plan)


def assert_rank_one(plan: Tensor) -> None:
    """P = P1 (1ᵀP) / 1ᵀP1."""
    assert_close(plan, plan.sum(1, keepdim=True) * plan.sum(0) / plan.sum(), rtol=1e-8, atol=0.0)


def test_huge_regularisation_gives_a_rank_one_plan() -> None:
    problem = random_problem(reg=1e9)
    solution = solve(problem)
    assert solution.converged
    assert_rank_one(solution.plan)


@pytest.mark.filterwarnings("ignore::partialot.ConvergenceWarning")
@pytest.mark.parametrize("max_iter", [3, 500])
def test_regularisation_far_below_the_costs_finishes_or_says_it_has_not(max_iter: int) -> None:
    problem = random_problem(reg=1e-6)
    solver = partialot.Sinkhorn(max_iter=max_iter, tol=1e-9)
    solution = partialot.solve(problem.cost, problem.a, problem.b, mass=0.6, reg=problem.reg, solver=solver)
    assert_finite(solution)
    excess = torch.cat([solution.plan.sum(1) - problem.a, solution.plan.sum(0) - problem.b]).clamp(min=0)
    assert bool(solution.converged) == bool(solution.marginal_error <= 1e-9)
    assert excess.max() <= solution.marginal_error * 0.6 + 1e-15


@BOTH
@pytest.mark.parametrize("mass", [None, 0.5])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 7), (7, 1), (1, 10_000), (10_000, 1)])
def test_thin_problems_are_solved(solver: str, n: int, m: int, mass: float | None) -> None:
    problem = random_problem(n=n, m=m, mass=mass)
    assert_solves(solve(problem, solver), problem, rtol=10 * TOLERANCES[solver])


@BOTH
@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0), (0, 4, 5), (2, 0, 5)], ids=str)
def test_empty_problems_have_empty_plans_of_value_zero(solver: str, shape: tuple[int, ...]) -> None:
    reg = reg_for(solver, 0.1)
    a, b = torch.zeros(*shape[:-1]), torch.zeros(*shape[:-2], shape[-1])
    for mass in (None, 0.0):
        solution = partialot.solve(torch.zeros(shape), a, b, mass=mass, reg=reg)
        assert solution.plan.shape == shape
        assert solution.value.shape == shape[:-2]
        assert (solution.value == 0).all()
        assert solution.converged.all()


@BOTH
def test_ties_give_the_exact_value_and_the_same_plan_every_time(solver: str) -> None:
    cost, weights = torch.zeros(6, 6, dtype=torch.float64), torch.ones(6, dtype=torch.float64)
    cost[:3] = 1.0
    reg = reg_for(solver, 0.05)
    first, second = (
        partialot.solve(cost, weights, weights, mass=4.0, reg=reg, solver=SOLVERS[solver]) for _ in range(2)
    )
    assert_close(first.value_linear.item(), 1.0, rtol=1e-9 if solver == "ExactLP" else 0.1, atol=0.0)
    assert torch.equal(first.plan, second.plan)


def test_weights_default_to_uniform_of_total_one() -> None:
    problem = random_problem(mass=None)
    a, b = torch.full((6,), 1 / 6, dtype=torch.float64), torch.full((7,), 1 / 7, dtype=torch.float64)
    explicit = partialot.solve(problem.cost, a, b, reg=0.1, solver=SINKHORN)
    assert_close(partialot.solve(problem.cost, reg=0.1, solver=SINKHORN).plan, explicit.plan, rtol=0.0, atol=1e-15)


@BOTH
def test_dense_cost_is_the_same_as_its_tensor(solver: str) -> None:
    problem = random_problem()
    reg = reg_for(solver, 0.1)
    geometry = partialot.DenseCost(problem.cost)
    bare = partialot.solve(problem.cost, problem.a, problem.b, mass=0.6, reg=reg)
    assert torch.equal(partialot.solve(geometry, problem.a, problem.b, mass=0.6, reg=reg).plan, bare.plan)


@BOTH
def test_apply_and_its_transpose_are_products_with_the_plan(solver: str) -> None:
    solution = solve(random_problem(), solver)
    x, y = torch.rand(7, 3, dtype=torch.float64), torch.rand(6, 3, dtype=torch.float64)
    assert_close(solution.apply(x), solution.plan @ x)
    assert_close(solution.apply_transpose(y), solution.plan.mT @ y)
