"""The exact solver where the libraries below it are silently wrong: signs, scales, ranges, totals."""

from fractions import Fraction

import pytest
import torch
from torch.testing import assert_close

import partialot
from tests.partialot.oracles import cheapest_matching, solve_by_highs
from tests.partialot.problems import PROBLEMS, NamedProblem, random_problem
from tests.partialot.properties import EXACT, assert_solves, solve

EXACT_VALUE = 1e-9
"""Of the linear programme's value, relative to itself."""


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_named_cases_cost_what_highs_says(problem: NamedProblem) -> None:
    optimum = solve_by_highs(problem.cost.numpy(), problem.a.numpy(), problem.b.numpy(), problem.mass)
    solution = solve(problem, "ExactLP")
    noise = 1e-12 * problem.moved * problem.scale
    assert_close(solution.value.item(), optimum.value, rtol=EXACT_VALUE, atol=noise)
    assert_close(solution.value_linear, solution.value, rtol=1e-12, atol=noise)


@pytest.mark.parametrize("exponent", [-300, -15, -12, -7, 0, 7, 12, 100])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_the_unit_of_the_costs_does_not_matter(size: int, exponent: int) -> None:
    """POT's own tolerance is absolute: at costs of 1e-12 it is 5 % off, at 1e-15 415 %."""
    cost = random_problem(n=5, m=4).cost * 10.0**exponent
    ones = torch.ones(5, dtype=torch.float64), torch.ones(4, dtype=torch.float64)
    solution = partialot.solve(cost, *ones, mass=float(size))
    assert_close(solution.value.item(), cheapest_matching(cost.numpy(), size), rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("exponent", [-12, -6, 6, 8, 12])
def test_the_unit_of_the_weights_does_not_matter(exponent: int) -> None:
    """POT calls weights of total 1e8 infeasible and returns a plan of zeros."""
    problem = random_problem()
    unit = 10.0**exponent
    scaled = solve(problem, "ExactLP", a=unit * problem.a, b=unit * problem.b, mass=unit * 0.6)
    assert_close(scaled.value / unit, solve(problem, "ExactLP").value, rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("seed", range(25))
def test_costs_over_sixteen_decades_are_summed_right(seed: int) -> None:
    """Judged by looking at all matchings: other linear programmes are up to twice too dear here."""
    generator = torch.Generator().manual_seed(seed)
    cost = 10.0 ** (16.0 * torch.rand(4, 5, generator=generator, dtype=torch.float64) - 8.0)
    ones = torch.ones(4, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    for size in (1, 2, 3):
        optimum = cheapest_matching(cost.numpy(), size)
        assert_close(partialot.solve(cost, *ones, mass=float(size)).value.item(), optimum, rtol=EXACT_VALUE, atol=0.0)


@pytest.mark.parametrize("shift", [-2.0, -0.5, 0.0, 1e6])
def test_negative_costs_move_no_more_than_the_mass(shift: float) -> None:
    """POT's corner, twice the largest cost, forbids nothing where no cost is positive."""
    problem = random_problem()
    solution = solve(problem, "ExactLP", cost=problem.cost + shift)
    assert_close(solution.plan.sum().item(), 0.6, rtol=1e-12, atol=0.0)
    assert_close(solution.value.item(), solve(problem, "ExactLP").value.item() + 0.6 * shift, rtol=1e-12, atol=1e-12)


def test_whole_weights_give_the_value_that_fractions_give() -> None:
    cost = torch.tensor([[3.0, 1.0, 7.0], [2.0, 4.0, 6.0], [8.0, 2.0, 5.0]], dtype=torch.float64)
    ones = torch.ones(3, dtype=torch.float64)
    solution = partialot.solve(cost, ones, ones, mass=2.5)
    # Two cheapest pairs cost 3, all three 8 (1 + 2 + 5): half of the third pair's price in between, by convexity.
    assert_close(solution.value.item(), float(Fraction(3 + 8, 2)), rtol=1e-14, atol=0.0)


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_the_potentials_prove_optimality(problem: NamedProblem) -> None:
    """Strong duality: the dual value equals the price, and no allowed pair is cheaper than its potentials."""
    solution = solve(problem, "ExactLP")
    assert_solves(solution, problem, rtol=1e-12)
    certificate = solution.certificate()
    assert_close(certificate.gap.item(), 0.0, rtol=0.0, atol=1e-12 * problem.moved * problem.scale)


def test_a_batch_is_solved_problem_by_problem() -> None:
    cost = torch.rand(2, 3, 5, 6, dtype=torch.float64)
    mass = torch.linspace(0.1, 1.0, 3, dtype=torch.float64)
    batch = partialot.solve(cost, mass=mass, solver=EXACT)
    for i in range(2):
        for j in range(3):
            alone = partialot.solve(cost[i, j], mass=mass[j], solver=EXACT)
            assert torch.equal(batch.plan[i, j], alone.plan)
