"""Five hundred drawn linear programmes, solved by partialot, by HiGHS and by POT."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.partialot.oracles import solve_by_highs, solve_by_pot
from tests.partialot.problems import NamedProblem, balanced_problems, partial_problems
from tests.partialot.properties import LP_TOLERANCE, assert_solves, solve

VALUE_TOLERANCE = 1e-9
"""Relative error of the value; beside it, rounding of the largest product where the value itself is nearly zero."""


@pytest.mark.timeout(300)
@settings(max_examples=500)
@given(st.one_of(partial_problems(), partial_problems(), partial_problems(), balanced_problems()))
def test_the_exact_value_is_that_of_two_other_solvers(problem: NamedProblem) -> None:
    solution = solve(problem, "ExactLP")
    assert_solves(solution, problem, rtol=LP_TOLERANCE)
    numbers = problem.cost.numpy(), problem.a.numpy(), problem.b.numpy(), problem.mass
    rounding = 1e-14 * problem.moved * problem.scale
    for optimum in (solve_by_highs(*numbers), solve_by_pot(*numbers)):
        assert_close(solution.value.item(), optimum.value, rtol=VALUE_TOLERANCE, atol=rounding)
