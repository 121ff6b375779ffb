"""The capped formulation against POT, against a general convex solver, and by its properties."""

import numpy as np
import ot
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.testing import assert_close

import partialot
from tests.partialot.capped_cases import BLOCKED, NEARLY_ALL, PLAIN, capped
from tests.partialot.oracles import solve_by_highs
from tests.partialot.problems import PARTIAL_PROBLEMS, NamedProblem, random_problem
from tests.partialot.properties import SINKHORN, SINKHORN_TOLERANCE, assert_certified, assert_solves

TO_POT = 1e-8
"""Largest difference of any entry from POT's plan, POT stopped at a change of 1e-14."""

SLOW = ("mass_near_full", "mass_full_of_both_sides", "cost_tied", "cost_nearly_tied", "weights_unequal_totals")
"""Hundreds of sweeps each; one of them is enough."""


def objective(problem: NamedProblem, plan: Tensor) -> Tensor:
    """⟨C, P⟩ + reg · Σ P (log P − 1)."""
    used = plan > 0
    return (problem.cost[used] * plan[used]).sum() + problem.reg * (plan[used] * (plan[used].log() - 1)).sum()


@pytest.mark.parametrize(
    "problem",
    [random_problem(), random_problem(mass=0.01), random_problem(n=9, m=12, mass=0.9, reg=0.05, seed=2)],
    ids=["most", "little", "nearly_all"],
)
def test_plan_and_value_are_those_of_pot(problem: NamedProblem) -> None:
    expected = ot.partial.entropic_partial_wasserstein(
        problem.a.numpy(),
        problem.b.numpy(),
        problem.cost.numpy(),
        problem.reg,
        m=problem.mass,
        numItermax=20_000,
        stopThr=1e-14,
    )
    solution = capped(problem)
    assert_close(solution.plan, torch.tensor(expected), rtol=0.0, atol=TO_POT)
    assert_close(solution.value, objective(problem, torch.tensor(expected)), rtol=0.0, atol=TO_POT)


@pytest.mark.filterwarnings("ignore:Values in x were outside bounds:RuntimeWarning")  # SciPy 1.13, by rounding
@pytest.mark.parametrize("problem", [PLAIN, NEARLY_ALL], ids=str)
def test_no_plan_that_a_general_solver_finds_is_better(problem: NamedProblem) -> None:
    """SciPy's sequential quadratic programming on the plan itself."""
    (n, m), cost = problem.cost.shape, problem.cost.numpy().ravel()
    rows, columns = np.repeat(np.eye(n), m, axis=1), np.tile(np.eye(m), n)
    found = minimize(
        lambda x: cost @ x + problem.reg * (x * (np.log(x) - 1)).sum(),
        np.full(n * m, problem.moved / (n * m)),
        jac=lambda x: cost + problem.reg * np.log(x),
        bounds=[(1e-12, None)] * (n * m),
        constraints=[
            {"type": "eq", "fun": lambda x: x.sum() - problem.moved, "jac": lambda x: np.ones_like(x)},
            {"type": "ineq", "fun": lambda x: problem.a.numpy() - rows @ x, "jac": lambda x: -rows},
            {"type": "ineq", "fun": lambda x: problem.b.numpy() - columns @ x, "jac": lambda x: -columns},
        ],
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    solution = capped(problem)
    assert_close(solution.value.item(), float(found.fun), rtol=0.0, atol=1e-8)
    assert_close(solution.plan.flatten(), torch.tensor(found.x), rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("problem", [p for p in PARTIAL_PROBLEMS if p.name not in SLOW[1:]], ids=str)
def test_named_problems_have_every_property_of_a_solution(problem: NamedProblem) -> None:
    solution = capped(problem)
    assert_solves(solution, problem, rtol=SINKHORN_TOLERANCE)
    assert_close(
        solution.value, objective(problem, solution.plan), rtol=1e-8, atol=1e-9 * problem.moved * problem.scale
    )


@pytest.mark.parametrize("problem", [PLAIN, BLOCKED], ids=str)
def test_potentials_give_the_plan_and_are_nonpositive_where_weights_are_left(problem: NamedProblem) -> None:
    solution = capped(problem)
    f, g = solution.potentials
    assert_close(((f[:, None] + g - problem.cost) / problem.reg).exp(), solution.plan, rtol=1e-9, atol=1e-15)
    for price, slack in ((f, solution.slack_a), (g - solution.mass_price, solution.slack_b)):
        assert (price <= 1e-12).all()
        assert_close(price * slack, torch.zeros_like(price), rtol=0.0, atol=1e-9)


def test_a_small_regularisation_leads_to_the_linear_programme() -> None:
    problem = random_problem(reg=1e-3)
    optimum = solve_by_highs(problem.cost.numpy(), problem.a.numpy(), problem.b.numpy(), problem.mass)
    solution = capped(problem)
    assert_close(solution.value_linear.item(), optimum.value, rtol=0.0, atol=3e-4)
    assert_certified(solution, problem, optimum.value)


def test_it_is_another_problem_than_that_with_dummy_nodes() -> None:
    other = partialot.solve(PLAIN.cost, PLAIN.a, PLAIN.b, mass=PLAIN.mass, reg=PLAIN.reg)
    assert (capped(PLAIN).plan - other.plan).abs().sum() > 0.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_batch_is_the_loop_over_its_problems(dtype: torch.dtype) -> None:
    mass, reg = torch.tensor([[0.1], [0.6]], dtype=dtype), torch.tensor([0.1, 0.5], dtype=dtype)
    cost, a, b = PLAIN.cost.to(dtype), PLAIN.a.to(dtype), PLAIN.b.to(dtype)
    together = partialot.solve(cost, a, b, mass=mass, reg=reg, formulation="capped")
    assert together.converged.all()
    assert together.plan.shape == (2, 2, 3, 4)
    for i in range(2):
        for j in range(2):
            alone = partialot.solve(cost, a, b, mass=mass[i, 0], reg=reg[j], formulation="capped")
            assert torch.equal(together.plan[i, j], alone.plan)
            assert together.n_iter[i, j] == alone.n_iter


def test_warm_starts_from_either_formulation_lead_to_the_same_answer() -> None:
    cold = capped(PLAIN)
    assert capped(PLAIN, init=cold).n_iter <= 1
    other = partialot.solve(PLAIN.cost, PLAIN.a, PLAIN.b, mass=PLAIN.mass, reg=PLAIN.reg)
    assert_close(capped(PLAIN, init=other).plan, cold.plan, rtol=0.0, atol=1e-10)
    back = partialot.solve(PLAIN.cost, PLAIN.a, PLAIN.b, mass=PLAIN.mass, reg=PLAIN.reg, solver=SINKHORN, init=cold)
    assert_close(back.plan, other.plan, rtol=0.0, atol=1e-8)


def test_nothing_to_move_is_the_empty_plan() -> None:
    solution = capped(PLAIN, mass=0.0)
    assert (solution.plan == 0).all()
    assert_close(solution.value, torch.zeros_like(solution.value), rtol=0.0, atol=1e-12)
    assert solution.mass_price.isfinite()


@pytest.mark.parametrize("changes", [{"reg": None}, {"mass": None}], ids=["no_reg", "no_mass"])
def test_there_is_nothing_to_cap_without_mass_or_reg(changes: dict[str, None]) -> None:
    arguments: dict[str, float | None] = {"mass": 0.5, "reg": 0.1} | changes
    with pytest.raises(ValueError, match=r"must have a `mass` and a `reg`\. Found none of one of them\. Pass both"):
        partialot.solve(PLAIN.cost, mass=arguments["mass"], reg=arguments["reg"], formulation="capped")


def test_unknown_formulations_and_unrolling_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one of 'dummy', 'capped'\. Found 'other'\. Leave it out"):
        partialot.solve(PLAIN.cost, mass=0.5, reg=0.1, formulation="other")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"Found `formulation='capped'`\. Pass `gradient=Implicit\(\)`"):
        partialot.solve(PLAIN.cost, mass=0.5, reg=0.1, formulation="capped", gradient=partialot.Unrolled())


def test_a_batch_of_which_one_problem_has_an_empty_target_is_solved_as_its_problems_are() -> None:
    cost = torch.rand(2, 3, 3, dtype=torch.float64)
    a = torch.full((2, 3), 1 / 3, dtype=torch.float64)
    b = torch.tensor([[0.5, 0.5, 0.0], [0.3, 0.3, 0.4]], dtype=torch.float64)
    together = partialot.solve(cost, a, b, mass=0.3, reg=0.1, formulation="capped")
    for i in range(2):
        alone = partialot.solve(cost[i], a[i], b[i], mass=0.3, reg=0.1, formulation="capped")
        assert_close(together.plan[i], alone.plan, rtol=1e-7, atol=1e-9)
        assert_close(together.potentials[1][i], alone.potentials[1], rtol=1e-7, atol=1e-9)
