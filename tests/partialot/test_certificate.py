"""The certificate brackets the linear programme at any iterate, and its plan is feasible to the last digit."""

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor
from torch.testing import assert_close

import partialot
from partialot.certificate import certify
from tests.partialot.oracles import solve_by_highs
from tests.partialot.problems import PROBLEMS, NamedProblem, balanced_problems, partial_problems, random_problem
from tests.partialot.properties import SOLVERS, assert_certified, reg_for, solve

pytestmark = pytest.mark.filterwarnings("ignore::partialot.ConvergenceWarning")


def exact_value(problem: NamedProblem) -> float:
    """The optimum of the linear programme, by HiGHS."""
    return solve_by_highs(problem.cost.numpy(), problem.a.numpy(), problem.b.numpy(), problem.mass).value


def after(problem: NamedProblem, max_iter: int) -> partialot.Solution:
    """The iterate after so many iterations, converged or not."""
    solver = partialot.Sinkhorn(max_iter=max_iter, tol=1e-12)
    return partialot.solve(problem.cost, problem.a, problem.b, mass=problem.mass, reg=problem.reg, solver=solver)


@pytest.mark.parametrize("max_iter", [0, 1, 3, 20_000])
@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_every_iterate_of_every_named_case_brackets_the_optimum(problem: NamedProblem, max_iter: int) -> None:
    assert_certified(after(problem, max_iter), problem, exact_value(problem))


@settings(max_examples=80)
@given(partial_problems() | balanced_problems())
def test_every_iterate_of_drawn_problems_brackets_the_optimum(problem: NamedProblem) -> None:
    """With and without forbidden pairs: a feasible plan is found whenever there is one."""
    optimum = exact_value(problem)
    for max_iter in (0, 1, 5):
        assert_certified(after(problem, max_iter), problem, optimum)


def bottleneck(size: int = 4) -> Tensor:
    """Costs by which each source may give way to the next target only, so that one unit pushes all the others on."""
    cost = torch.full((size, size), torch.inf, dtype=torch.float64)
    cost.fill_diagonal_(1.0)
    cost.diagonal(-1).fill_(0.0)
    return cost


def test_mass_is_rerouted_along_paths_of_any_length() -> None:
    """A plan that fills the cheap pairs leaves room only where no allowed pair joins it: everything must move on."""
    cost, weights = bottleneck(30), torch.ones(30, dtype=torch.float64)
    problem = partialot.Problem.from_inputs(cost, weights, weights)
    plan = torch.zeros_like(cost)
    plan.diagonal(-1).fill_(1.0)
    nothing = torch.zeros_like(weights)
    certificate = certify(problem, plan, nothing, torch.tensor(0.0))
    assert_close(certificate.plan, torch.eye(30, dtype=torch.float64), rtol=0.0, atol=1e-12)
    assert_close(certificate.primal.item(), 30.0)


def test_only_problems_without_any_feasible_plan_have_no_upper_bound() -> None:
    """Two sources share the one target they may reach: the first problem of the batch has a plan, the second none."""
    cost = torch.rand(2, 3, 3, dtype=torch.float64)
    cost[1, :2, 1:] = torch.inf
    solver = partialot.Sinkhorn(max_iter=5, tol=1e-12)
    certificate = partialot.solve(cost, reg=0.1, solver=solver).certificate()
    assert certificate.primal.isfinite().tolist() == [True, False]
    assert certificate.gap.isfinite().tolist() == [True, False]
    assert certificate.dual.isfinite().all()
    assert certificate.plan[1].sum() <= 2 / 3 + 1e-12
    assert (certificate.plan[1][cost[1].isinf()] == 0).all()


def test_the_plan_that_was_rounded_is_left_as_it_was() -> None:
    problem = random_problem()
    solution = after(problem, 1)
    before = solution.plan.clone()
    certificate = solution.certificate()
    assert torch.equal(solution.plan, before)
    assert not torch.equal(certificate.plan, before)


@pytest.mark.parametrize("problem", [p for p in PROBLEMS if not p.cost.isfinite().all()], ids=str)
def test_converged_plans_around_forbidden_pairs_are_rounded_to_feasible_ones(problem: NamedProblem) -> None:
    assert_certified(solve(problem), problem, exact_value(problem))


@pytest.mark.parametrize("mass", [None, 0.6, 1e-6])
def test_the_gap_closes_with_the_regularisation(mass: float | None) -> None:
    gaps = [solve(random_problem(mass=mass, reg=reg)).certificate().gap for reg in (0.3, 0.03, 0.01)]
    assert gaps[2] < gaps[1] < gaps[0]
    assert gaps[2] <= 0.1 * random_problem(mass=mass).moved


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_the_exact_solution_certifies_itself(problem: NamedProblem) -> None:
    assert_certified(solve(problem, "ExactLP"), problem, exact_value(problem))
    assert_close(
        solve(problem, "ExactLP").certificate().gap.item(), 0.0, rtol=0.0, atol=1e-12 * problem.moved * problem.scale
    )


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_batch_has_one_certificate_a_problem(solver: str) -> None:
    cost = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    mass = torch.tensor([0.2, 0.5, 1.0], dtype=torch.float64)
    reg = reg_for(solver, 0.1)
    certificate = partialot.solve(cost, mass=mass, reg=reg, solver=SOLVERS[solver]).certificate()
    assert certificate.plan.shape == (2, 3, 4, 5)
    for bound in (certificate.primal, certificate.dual, certificate.gap):
        assert bound.shape == (2, 3)
    assert_close(certificate.plan.sum((-2, -1)), mass.expand(2, 3), rtol=1e-14, atol=0.0)
    assert_close(certificate.primal, (cost * certificate.plan).sum((-2, -1)))


def test_rounding_follows_a_permutation_of_the_nodes() -> None:
    problem = random_problem()
    rows, columns = torch.randperm(6), torch.randperm(7)

    def rounded(cost: Tensor, a: Tensor, b: Tensor) -> Tensor:
        solver = partialot.Sinkhorn(max_iter=1, tol=1e-12)
        return partialot.solve(cost, a, b, mass=0.6, reg=0.1, solver=solver).certificate().plan

    straight = rounded(problem.cost, problem.a, problem.b)
    shuffled = rounded(problem.cost[rows][:, columns], problem.a[rows], problem.b[columns])
    assert_close(shuffled, straight[rows][:, columns], rtol=0.0, atol=1e-14)


def test_float32_certificates_hold_as_well() -> None:
    problem = random_problem(n=30, m=40)
    single = partialot.solve(*(t.float() for t in (problem.cost, problem.a, problem.b)), mass=0.6, reg=0.05)
    certificate = single.certificate()
    assert_close(certificate.plan.sum().item(), 0.6, rtol=1e-6, atol=0.0)
    assert (certificate.plan.sum(-1) <= problem.a.float() * (1 + 1e-6)).all()
    optimum = exact_value(problem)
    assert certificate.dual <= optimum + 1e-6
    assert certificate.primal >= optimum - 1e-6
