"""The annealed linear programme: proven gaps, feasible plans, each problem by itself, and what it refuses."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor
from torch.testing import assert_close

import partialot
from partialot.augmentation import add_dummy_nodes
from partialot.solvers import AnnealedLP, Status
from tests.partialot.oracles import solve_by_highs
from tests.partialot.problems import PROBLEMS, NamedProblem, balanced_problems, partial_problems, random_problem
from tests.partialot.properties import assert_solves

TOL_GAP = 1e-3
FLOOR = 1e-6
"""The documented part of range · mass that takes the place of smaller values."""


def anneal(problem: NamedProblem, solver: AnnealedLP) -> partialot.Solution:
    """Solve without `reg`."""
    return partialot.solve(problem.cost, problem.a, problem.b, mass=problem.mass, solver=solver)


def optimum(problem: NamedProblem) -> float:
    """By HiGHS."""
    return solve_by_highs(problem.cost.numpy(), problem.a.numpy(), problem.b.numpy(), problem.mass).value


def allowed_gap(problem: NamedProblem, value: float, tol_gap: float = TOL_GAP) -> float:
    """What the documentation allows."""
    allowed = problem.cost[problem.cost.isfinite()]
    span = (allowed.max() - allowed.min()).item() if allowed.numel() else 0.0
    return tol_gap * max(abs(value), FLOOR * span * problem.moved)


def assert_near(solution: partialot.Solution, problem: NamedProblem, tol_gap: float = TOL_GAP) -> None:
    """A feasible plan above the optimum by at most the allowed gap, which the solution's own certificate confirms."""
    assert_solves(solution, problem, rtol=1e-10)
    best, value = optimum(problem), solution.value.item()
    noise = 1e-9 * problem.moved * problem.scale
    assert best - noise <= value <= best + allowed_gap(problem, value, tol_gap) + noise
    certificate = solution.certificate()
    assert certificate.gap.item() <= allowed_gap(problem, value, tol_gap) + noise


def clustered(n: int = 60, m: int = 70, *, seed: int = 0) -> NamedProblem:
    """Cosine costs between clusters, large enough for annealing to take several rounds."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(5, 16, generator=generator, dtype=torch.float64)
    x, y = (
        centres[torch.randint(5, (size,), generator=generator)]
        + 0.7 * torch.randn(size, 16, generator=generator, dtype=torch.float64)
        for size in (n, m)
    )
    return NamedProblem(
        name="clustered",
        cost=1 - torch.nn.functional.normalize(x, dim=-1) @ torch.nn.functional.normalize(y, dim=-1).mT,
        a=torch.full((n,), 1 / n, dtype=torch.float64),
        b=torch.full((m,), 1 / m, dtype=torch.float64),
        mass=0.7,
        reg=0.1,
    )


def balanced(problem: NamedProblem) -> NamedProblem:
    """The same, moving everything."""
    return NamedProblem(problem.name, problem.cost, problem.a, problem.b, None, problem.reg)


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_named_cases_are_certified(problem: NamedProblem) -> None:
    assert_near(anneal(problem, AnnealedLP(tol_gap=TOL_GAP)), problem)


@settings(max_examples=12)
@given(partial_problems() | balanced_problems())
def test_drawn_problems_are_certified(problem: NamedProblem) -> None:
    assert_near(anneal(problem, AnnealedLP(tol_gap=TOL_GAP)), problem)


@pytest.mark.parametrize("tol_gap", [1e-1, 1e-2])
@pytest.mark.parametrize("problem", [clustered(), balanced(clustered())], ids=["partial", "balanced"])
def test_sweeps_alone_reach_the_gap_and_stop_there(problem: NamedProblem, tol_gap: float) -> None:
    solution = anneal(problem, AnnealedLP(tol_gap=tol_gap, simplex_after=None))
    assert_near(solution, problem, tol_gap)
    assert solution.value.item() > optimum(problem) * (1 + 1e-6), "an optimum would mean that it went on for too long"
    assert 0 < int(solution.n_iter) < 2000


def test_smaller_gaps_take_more_sweeps() -> None:
    counts = [int(anneal(clustered(), AnnealedLP(tol_gap=tol, simplex_after=None)).n_iter) for tol in (0.3, 3e-2, 3e-3)]
    assert counts[0] < counts[1] < counts[2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gaps_below_single_precision_are_reached_by_the_simplex(dtype: torch.dtype) -> None:
    problem = clustered(30, 25)
    given = (x.to(dtype) for x in (problem.cost, problem.a, problem.b))
    solution = partialot.solve(*given, mass=0.7, solver=AnnealedLP(tol_gap=1e-9))
    assert solution.converged
    assert solution.plan.dtype == solution.value.dtype == dtype
    digits = 1e-8 if dtype == torch.float64 else 1e-5
    assert_close(solution.value.item(), optimum(problem), rtol=digits, atol=0.0)


def test_sharper_sweeps_go_on_in_double_precision() -> None:
    problem = clustered(12, 10)
    solution = anneal(problem, AnnealedLP(tol_gap=1e-7, simplex_after=None, max_iter=20_000))
    assert solution.converged
    assert_close(solution.value.item(), optimum(problem), rtol=2e-7, atol=0.0)


@pytest.mark.parametrize("mass", [None, 0.6])
def test_an_optimum_of_zero_is_certified(mass: float | None) -> None:
    """Relative to the value no gap above 0 would do."""
    points = torch.rand(20, 2, dtype=torch.float64)
    cost = torch.cdist(points, points).square()
    cost.fill_diagonal_(0.0)
    solution = partialot.solve(cost, mass=mass, solver=AnnealedLP(tol_gap=1e-2))
    assert solution.converged
    assert 0 <= solution.value.item() <= 1e-8 * cost.max()


@pytest.mark.parametrize("level", [0.0, 3.0, -2.0])
def test_equal_prices_are_done_at_once(level: float) -> None:
    solution = partialot.solve(torch.full((4, 5), level, dtype=torch.float64), mass=0.5, solver=AnnealedLP())
    assert solution.converged
    assert_close(solution.value.item(), 0.5 * level, rtol=1e-12, atol=1e-12)


def test_prices_far_from_their_differences_are_told_apart() -> None:
    """In float32, which sweeps work in, prices around a million would not differ at all."""
    problem, offset = clustered(20, 20), 1e6
    best = optimum(problem)
    tol_gap = 1e-2 * best / (best + 0.7 * offset)
    solver = AnnealedLP(tol_gap=tol_gap, simplex_after=None)
    solution = partialot.solve(problem.cost + offset, mass=0.7, solver=solver)
    assert solution.converged
    assert_close(solution.value_linear.item() - 0.7 * offset, best, rtol=1.1e-2, atol=0.0)


@pytest.mark.parametrize("mass", [None, 0.7])
def test_a_batch_is_solved_as_each_problem_alone(mass: float | None) -> None:
    """Each stops by its own certificate: the easy ones do not wait, nor do they hurry the others."""
    problems = [clustered(24, 20, seed=seed) for seed in range(3)]
    cost = torch.stack([problem.cost**power for problem, power in zip(problems, (1, 2, 3), strict=True)])
    solver = AnnealedLP(tol_gap=1e-2, simplex_after=None)
    together = partialot.solve(cost, mass=mass, solver=solver)
    alone = [partialot.solve(one, mass=mass, solver=solver) for one in cost]
    assert together.n_iter.tolist() == [int(one.n_iter) for one in alone]
    assert len(set(together.n_iter.tolist())) > 1
    assert_close(together.plan, torch.stack([one.plan for one in alone]), rtol=1e-9, atol=1e-15)


def test_batches_of_any_shape_keep_it() -> None:
    solution = partialot.solve(torch.rand(2, 1, 3, 5, 4, dtype=torch.float64), mass=0.5, solver=AnnealedLP(tol_gap=0.1))
    assert solution.value.shape == solution.status.shape == (2, 1, 3)
    assert solution.plan.shape == (2, 1, 3, 5, 4)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 3, 4)])
def test_nothing_is_solved_by_nothing(shape: tuple[int, ...]) -> None:
    solution = partialot.solve(torch.zeros(shape, dtype=torch.float64), mass=0.0, solver=AnnealedLP())
    assert solution.plan.shape == shape
    assert solution.converged.all()


def test_no_mass_is_moved_by_an_empty_plan() -> None:
    solution = anneal(random_problem(mass=0.0), AnnealedLP())
    assert solution.converged
    assert (solution.plan == 0).all()


def test_mass_is_led_around_forbidden_pairs() -> None:
    """One unit pushes all the others on: no rounding of a spread plan finds the only way there is."""
    cost = torch.full((12, 12), torch.inf, dtype=torch.float64)
    cost.fill_diagonal_(1.0)
    cost.diagonal(-1).fill_(0.0)
    solution = partialot.solve(cost, solver=AnnealedLP())
    assert solution.converged
    assert_close(solution.plan, torch.eye(12, dtype=torch.float64) / 12, rtol=0.0, atol=1e-12)


def test_pairs_that_cannot_carry_the_mass_are_refused() -> None:
    cost = torch.rand(3, 3, dtype=torch.float64)
    cost[:2, 1:] = torch.inf
    with pytest.raises(partialot.InfeasibleProblemError, match="must be able to carry the mass"):
        partialot.solve(cost, solver=AnnealedLP(simplex_after=None, max_iter=50))


@pytest.mark.parametrize("problem", [clustered(), balanced(clustered())], ids=["partial", "balanced"])
def test_potentials_are_feasible_and_prove_the_gap(problem: NamedProblem) -> None:
    """Everywhere f + g ≤ cost, and their dual value is within the gap of the plan's cost."""
    solution = anneal(problem, AnnealedLP(tol_gap=1e-2, simplex_after=None))
    f, g = solution.potentials
    assert (f.unsqueeze(-1) + g <= problem.cost + 1e-12).all()
    free = g if problem.mass is None else g - solution.mass_price
    dual = (problem.a * f).sum() + (problem.b * free).sum()
    if problem.mass is not None:
        assert (f <= 1e-12).all()
        assert (free <= 1e-12).all()
        dual = dual + problem.mass * solution.mass_price
    gap = solution.value - dual
    assert 0 <= gap.item() <= 1e-2 * solution.value.item() * (1 + 1e-9)


def test_derivatives_of_the_value_are_plan_and_potentials() -> None:
    """By the envelope theorem, and like those of the exact solver where the simplex finished."""
    problem = clustered(8, 9)
    found: list[list[Tensor]] = []
    for solver in (AnnealedLP(tol_gap=1e-10), partialot.ExactLP()):
        inputs = [x.clone().requires_grad_() for x in (problem.cost, problem.a, problem.b)]
        mass = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
        solution = partialot.solve(*inputs, mass=mass, solver=solver)
        found.append(list(torch.autograd.grad(solution.value, [*inputs, mass])))
        assert_close(found[-1][0], solution.plan.detach(), rtol=0.0, atol=0.0)
    for ours, exact in zip(*found, strict=True):
        assert_close(ours, exact, rtol=0.0, atol=1e-9)


def test_a_plan_without_regularisation_has_no_derivative() -> None:
    cost = torch.rand(4, 4, dtype=torch.float64, requires_grad=True)
    with pytest.raises(partialot.NotDifferentiableError, match="Only `value` has derivatives"):
        partialot.solve(cost, mass=0.5, solver=AnnealedLP()).plan.sum().backward()


def test_a_start_from_a_solution_saves_sweeps() -> None:
    problem, solver = balanced(clustered()), AnnealedLP(tol_gap=1e-2, simplex_after=None)
    cold = anneal(problem, solver)
    warm = partialot.solve(problem.cost, problem.a, problem.b, solver=solver, init=cold)
    assert warm.converged
    assert int(warm.n_iter) < int(cold.n_iter)
    assert_near(warm, problem, 1e-2)


@pytest.mark.parametrize("max_iter", [0, 5])
def test_sweeps_that_run_out_leave_a_feasible_plan_and_tell_the_gap(max_iter: int) -> None:
    problem = clustered()
    given = partialot.Problem.from_inputs(problem.cost, problem.a, problem.b, mass=problem.mass)
    solver = AnnealedLP(tol_gap=1e-4, max_iter=max_iter)
    result = solver.run(add_dummy_nodes(given), None)
    assert result.status.tolist() == [int(Status.ITERATION_LIMIT)]
    assert result.n_iter.tolist() == [max_iter]
    assert result.error.item() <= 1e-14
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", partialot.ConvergenceWarning)
        certificate = anneal(problem, solver).certificate()
    gap = certificate.gap.item() / certificate.primal.item()
    told = float(result.shortfall.split("Found ")[1].split(" of the value")[0])
    assert_close(told, gap, rtol=0.01, atol=0.0)
    assert "should fall to `tol_gap = 0.0001`" in result.shortfall
    assert "Raise `max_iter` or `tol_gap`, or pass `simplex_after`" in result.shortfall


@pytest.mark.parametrize("tol_gap", [0.0, -1.0, float("inf"), float("nan")])
def test_impossible_gaps_are_refused(tol_gap: float) -> None:
    with pytest.raises(ValueError, match=r"`tol_gap` must be positive and finite. Found `tol_gap = .*Pass how far"):
        AnnealedLP(tol_gap=tol_gap)


@pytest.mark.parametrize("name", ["max_iter", "simplex_after"])
def test_negative_numbers_of_sweeps_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"`{name}` must be a whole number, at least 0. Found `{name} = -1`. Pass"):
        AnnealedLP(**{name: -1})


def test_a_regularisation_is_refused() -> None:
    with pytest.raises(ValueError, match="Found AnnealedLP and a `reg`"):
        partialot.solve(torch.rand(3, 3), reg=0.1, solver=AnnealedLP())


def test_numpy_arrays_are_taken() -> None:
    solution = partialot.solve(np.random.default_rng(0).random((4, 5)), mass=0.5, solver=AnnealedLP())
    assert solution.converged
