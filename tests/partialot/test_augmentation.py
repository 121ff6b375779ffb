"""The dummy-node problem written out, and the claim that solving it is solving ours."""

import pytest
import torch
from torch.testing import assert_close

import partialot

COST = torch.tensor([[0.1, 0.9, 0.8], [0.7, 0.2, 0.9]], dtype=torch.float64)
A, B = torch.tensor([0.5, 0.75], dtype=torch.float64), torch.tensor([0.4, 0.4, 0.2], dtype=torch.float64)


def test_what_is_not_moved_goes_to_dummies_at_no_price() -> None:
    augmented = partialot.augment(COST, A, B, mass=0.6)
    assert_close(augmented.cost[:-1, :-1], COST)
    assert (augmented.cost[:-1, -1] == 0).all()
    assert (augmented.cost[-1, :-1] == 0).all()
    assert_close(augmented.a, torch.tensor([0.5, 0.75, 0.4], dtype=torch.float64))
    assert_close(augmented.b, torch.tensor([0.4, 0.4, 0.2, 0.65], dtype=torch.float64))
    assert_close(augmented.a.sum(), augmented.b.sum())


def test_the_corner_is_forbidden_not_dear() -> None:
    assert partialot.augment(COST, A, B, mass=0.6).cost[-1, -1] == torch.inf


@pytest.mark.parametrize("reg", [None, 0.1])
def test_balanced_transport_of_the_augmented_problem_is_partial_transport(reg: float | None) -> None:
    augmented = partialot.augment(COST, A, B, mass=0.6)
    balanced = partialot.solve(augmented.cost, augmented.a, augmented.b, reg=reg)
    partial = partialot.solve(COST, A, B, mass=0.6, reg=reg)
    assert_close(balanced.plan[:-1, :-1], partial.plan, rtol=1e-7, atol=1e-9)
    assert_close(balanced.value, partial.value)


def test_dummies_of_a_balanced_problem_weigh_nothing() -> None:
    augmented = partialot.augment(COST)
    assert augmented.a[-1] == 0
    assert augmented.b[-1] == 0


def test_batches_of_masses_are_written_out_together() -> None:
    augmented = partialot.augment(COST, A, B, mass=torch.tensor([0.1, 0.6], dtype=torch.float64))
    assert augmented.cost.shape == (2, 3, 4)
    assert_close(augmented.a[:, -1], torch.tensor([0.9, 0.4], dtype=torch.float64))


def test_too_much_mass_is_refused_here_too() -> None:
    with pytest.raises(partialot.InfeasibleProblemError, match=r"Found `mass = 2` .* Pass a smaller"):
        partialot.augment(COST, A, B, mass=2.0)
