"""What counts as an answer in the benchmarks, and how the fewest iterations are found."""

import pytest
import torch
from judging import distance, find_fault, find_fewest, violation
from workload import Workload

PARTIAL = Workload(batch=1, nodes=2, mass=0.6, reg=0.1, error=1e-3)
OPTIMUM = torch.tensor([[[0.5, 0.0], [0.0, 0.1]]], dtype=torch.float64)


def test_the_optimum_is_an_answer() -> None:
    assert find_fault(OPTIMUM, OPTIMUM, PARTIAL) is None


@pytest.mark.parametrize(
    ("plan", "fault"),
    [
        ([[float("nan"), 0.0], [0.0, 0.1]], "NaN or inf"),
        ([[0.5, 0.0], [0.0, 0.4]], "mass wrong by 0.5"),
        ([[0.6, 0.0], [0.0, 0.0]], "violation 0.17"),
        ([[0.0, 0.3], [0.3, 0.0]], "another plan: 2 of its mass lies elsewhere"),
    ],
)
def test_what_is_wrong_with_a_plan_is_said(plan: list[list[float]], fault: str) -> None:
    assert find_fault(torch.tensor([plan]), OPTIMUM, PARTIAL) == fault


def test_without_an_optimum_the_constraints_alone_judge() -> None:
    assert find_fault(torch.tensor([[[0.0, 0.3], [0.3, 0.0]]]), None, PARTIAL) is None


def test_the_violation_is_that_of_the_worst_problem_over_the_mass() -> None:
    worse = OPTIMUM + torch.tensor([[0.06, 0.0], [0.0, 0.0]])
    assert violation(torch.cat([OPTIMUM, worse]), PARTIAL) == pytest.approx(0.1)


def test_balanced_problems_move_everything() -> None:
    balanced = Workload(batch=1, nodes=2, mass=None, reg=0.1, error=1e-3)
    assert violation(torch.full((1, 2, 2), 0.25), balanced) == 0.0
    assert violation(torch.full((1, 2, 2), 0.125), balanced) == pytest.approx(0.5)


def test_the_distance_is_relative_to_the_mass() -> None:
    assert distance(torch.tensor([[[0.4, 0.1], [0.0, 0.1]]]), OPTIMUM, PARTIAL) == pytest.approx(0.2 / 0.6)


@pytest.mark.parametrize("needed", [1, 3, 12, 13, 100, 700])
@pytest.mark.parametrize("guess", [1, 12, 300])
def test_the_fewest_iterations_are_found_to_a_tenth(needed: int, guess: int) -> None:
    found = find_fewest(lambda count: count >= needed, guess, 1000)
    assert found is not None
    assert needed <= found <= needed + max(1, found // 10)


@pytest.mark.parametrize("guess", [1, 12, 1000])
def test_what_the_limit_does_not_reach_is_never_tried_beyond_it(guess: int) -> None:
    tried: list[int] = []

    def reaches(count: int) -> bool:
        tried.append(count)
        return False

    assert find_fewest(reaches, guess, 1000) is None
    assert max(tried) == 1000
