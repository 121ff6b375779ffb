"""What changing a problem in a known way does to its solution."""

import pytest
import torch
from hypothesis import given, settings
from torch.testing import assert_close

from tests.partialot.problems import LARGEST_SIDE, NamedProblem, partial_problems, random_problem
from tests.partialot.properties import SOLVERS, solve

BOTH = pytest.mark.parametrize("solver", SOLVERS)
MASSES = pytest.mark.parametrize("mass", [None, 0.6, 1e-3])
EQUAL = 1e-9
"""Two runs of one problem written in two ways, each solved to 1e-12."""
EXAMPLES = settings(max_examples=30)


@BOTH
@MASSES
def test_permuting_nodes_permutes_the_plan(solver: str, mass: float | None) -> None:
    problem = random_problem(mass=mass)
    rows, columns = torch.randperm(6), torch.randperm(7)
    shuffled = solve(problem, solver, cost=problem.cost[rows][:, columns], a=problem.a[rows], b=problem.b[columns])
    assert_close(shuffled.plan, solve(problem, solver).plan[rows][:, columns], rtol=0.0, atol=EQUAL)


@BOTH
@MASSES
def test_exchanging_sources_and_targets_transposes_the_plan(solver: str, mass: float | None) -> None:
    problem = random_problem(mass=mass)
    straight, turned = solve(problem, solver), solve(problem, solver, cost=problem.cost.mT, a=problem.b, b=problem.a)
    assert_close(turned.plan, straight.plan.mT, rtol=0.0, atol=EQUAL)
    assert_close(turned.value, straight.value, rtol=EQUAL, atol=0.0)


@BOTH
@MASSES
@pytest.mark.parametrize(("shift", "lost"), [(-3.0, EQUAL), (1e3, EQUAL), (1e8, 1e-7)])
def test_shifting_the_costs_shifts_the_value_by_the_mass(
    solver: str, mass: float | None, shift: float, lost: float
) -> None:
    """At 1e8 the costs themselves keep only eight digits."""
    problem = random_problem(mass=mass)
    plain, shifted = solve(problem, solver), solve(problem, solver, cost=problem.cost + shift)
    assert_close(shifted.plan, plain.plan, rtol=0.0, atol=lost)
    assert_close(shifted.value, plain.value + shift * problem.moved, rtol=1e-12, atol=EQUAL)


@BOTH
@MASSES
@pytest.mark.parametrize("unit", [1e-12, 1e-3, 1e6, 1e12])
def test_the_unit_of_cost_and_reg_scales_the_value_and_nothing_else(
    solver: str, mass: float | None, unit: float
) -> None:
    problem = random_problem(mass=mass)
    plain = solve(problem, solver)
    scaled = solve(problem, solver, cost=unit * problem.cost, reg=unit * problem.reg)
    assert_close(scaled.plan, plain.plan, rtol=0.0, atol=1e-12)
    assert_close(scaled.value / unit, plain.value, rtol=1e-11, atol=0.0)


@BOTH
@MASSES
@pytest.mark.parametrize("unit", [1e-12, 1e-6, 1e6, 1e12])
def test_the_unit_of_the_masses_scales_plan_and_value(solver: str, mass: float | None, unit: float) -> None:
    """Homogeneous of degree one in (a, b, mass) together; potentials and price stay."""
    problem = random_problem(mass=mass)
    plain = solve(problem, solver)
    scaled = solve(problem, solver, a=unit * problem.a, b=unit * problem.b, mass=None if mass is None else unit * mass)
    assert_close(scaled.plan / unit, plain.plan, rtol=0.0, atol=EQUAL)
    assert_close(scaled.value / unit, plain.value, rtol=EQUAL, atol=0.0)
    if mass is not None:
        assert_close(scaled.mass_price, plain.mass_price, rtol=1e-7, atol=1e-7)


@BOTH
@MASSES
def test_splitting_a_node_in_two_changes_no_value(solver: str, mass: float | None) -> None:
    problem = random_problem(mass=mass)
    a = torch.cat([problem.a[:1] * 0.3, problem.a[:1] * 0.7, problem.a[1:]])
    split = solve(problem, solver, cost=torch.cat([problem.cost[:1], problem.cost]), a=a)
    whole = solve(problem, solver)
    assert_close(split.value, whole.value, rtol=EQUAL, atol=0.0)
    if SOLVERS[solver].entropic:
        merged = torch.cat([split.plan[:2].sum(0, keepdim=True), split.plan[2:]])
        assert_close(merged, whole.plan, rtol=0.0, atol=EQUAL)


@BOTH
@EXAMPLES
@given(problem=partial_problems(smallest_fraction=1e-2, full=False))
def test_value_is_convex_in_the_mass(solver: str, problem: NamedProblem) -> None:
    assert problem.mass is not None
    low, middle, high = (solve(problem, solver, mass=part * problem.mass).value for part in (0.5, 0.75, 1.0))
    size = max(problem.scale, problem.reg) * (problem.a.sum() + problem.b.sum())
    assert middle <= (low + high) / 2 + 1e-11 * size


@EXAMPLES
@given(problem=partial_problems())
def test_exact_value_grows_with_the_mass_where_no_cost_is_negative(problem: NamedProblem) -> None:
    assert problem.mass is not None
    cost = problem.cost - problem.cost[problem.cost.isfinite()].min()
    less, more = (solve(problem, "ExactLP", cost=cost, mass=part * problem.mass).value for part in (0.6, 1.0))
    assert less <= more + 1e-12 * problem.moved * problem.scale


@EXAMPLES
@given(problem=partial_problems())
def test_a_dearer_pair_never_makes_the_exact_value_cheaper(problem: NamedProblem) -> None:
    dearer = problem.cost.clone()
    dearer[0, 0] += problem.scale
    noise = 1e-12 * problem.moved * problem.scale
    assert solve(problem, "ExactLP").value <= solve(problem, "ExactLP", cost=dearer).value + noise


@BOTH
@EXAMPLES
@given(problem=partial_problems(smallest_fraction=1e-2, full=False))
def test_an_appended_node_of_weight_zero_changes_nothing(solver: str, problem: NamedProblem) -> None:
    cost = torch.nn.functional.pad(problem.cost, (0, 1, 0, 1), value=-100.0)
    a, b = (torch.nn.functional.pad(weights, (0, 1)) for weights in (problem.a, problem.b))
    grown, plain = solve(problem, solver, cost=cost, a=a, b=b), solve(problem, solver)
    size = max(problem.scale, problem.reg) * (problem.a.sum() + problem.b.sum())
    assert_close(grown.value, plain.value, rtol=EQUAL, atol=1e-11 * size.item())
    assert (grown.plan[-1] == 0).all()
    assert (grown.plan[:, -1] == 0).all()
    assert max(grown.plan.shape) <= LARGEST_SIDE + 1


@pytest.mark.parametrize("mass", [0.9, 0.6, 1e-3])
def test_the_mass_price_is_the_slope_of_the_value(mass: float) -> None:
    problem, step = random_problem(mass=mass), 1e-4 * mass
    slope = (solve(problem, mass=mass + step).value - solve(problem, mass=mass - step).value) / (2 * step)
    assert_close(solve(problem).mass_price, slope, rtol=1e-6, atol=1e-8)
