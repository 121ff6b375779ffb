"""What stands between POT and the user: settings, warm starts, and answers that are not believed."""

from typing import Any

import numpy as np
import ot
import pytest
import torch
from torch.testing import assert_close

import partialot

COST = torch.tensor([[0.1, 0.9, 0.8], [0.7, 0.2, 0.9]], dtype=torch.float64)


def corrupt(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Let POT answer with some entries of its log, or its plan, replaced."""
    original = ot.emd

    def answer(*arguments: Any, **options: Any) -> Any:
        flow, log = original(*arguments, **options)
        return changes.pop("flow", flow), {**log, **changes}

    monkeypatch.setattr(ot, "emd", answer)


def test_a_warning_of_the_simplex_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    corrupt(monkeypatch, warning="Problem infeasible. Check that a and b are in the simplex")
    with pytest.raises(partialot.SolverError, match=r"must end at an optimum\. POT ended problem 0 .* Report"):
        partialot.solve(COST, mass=0.5)


def test_a_plan_that_contradicts_its_duals_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    corrupt(monkeypatch, u=np.zeros(3), v=np.zeros(4))
    with pytest.raises(partialot.SolverError, match=r"must agree\. Found them .* apart in problem 0\. Report"):
        partialot.solve(COST, mass=0.5)


def test_pivots_that_run_out_are_told() -> None:
    generator = torch.Generator().manual_seed(0)
    cost = torch.rand(40, 40, generator=generator, dtype=torch.float64)
    with pytest.warns(partialot.ConvergenceWarning, match=r"Found .* of the mass in the worst of 1 of 1 problems"):
        solution = partialot.solve(cost, solver=partialot.ExactLP(max_iter=1))
    assert not solution.converged
    assert solution.status == partialot.Status.ITERATION_LIMIT


def test_pivots_that_run_out_prove_no_pair_missing() -> None:
    """An unfinished plan may lie on forbidden pairs; it must neither be returned so nor called the only one."""
    generator = torch.Generator().manual_seed(0)
    cost = torch.rand(40, 40, generator=generator, dtype=torch.float64)
    cost[torch.rand(40, 40, generator=generator) < 0.9] = torch.inf
    cost.fill_diagonal_(1.0)
    with pytest.warns(partialot.ConvergenceWarning, match=r"Found .* of the mass in the worst of 1 of 1 problems"):
        solution = partialot.solve(cost, solver=partialot.ExactLP(max_iter=100))
    assert (solution.plan[cost.isinf()] == 0).all()
    assert partialot.solve(cost).converged


def test_no_pivots_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be a whole number, at least 1\. Found `max_iter = 0`\. Pass"):
        partialot.ExactLP(max_iter=0)


@pytest.mark.parametrize("reg", [None, 0.05])
def test_a_warm_start_changes_no_answer(reg: float | None) -> None:
    with_start = partialot.solve(COST, mass=0.5, init=partialot.solve(COST, mass=0.4, reg=reg))
    assert_close(with_start.value, partialot.solve(COST, mass=0.5).value)


def test_a_warm_start_of_another_shape_is_refused() -> None:
    other = partialot.solve(COST.T, mass=0.5)
    with pytest.raises(ValueError, match=r"`init` must solve .* same shape\. Found .* \(3, 2\) .*\(2, 3\)\. Pass"):
        partialot.solve(COST, mass=0.5, init=other)


def test_pairs_that_cannot_carry_the_mass_together_are_refused() -> None:
    """Each node has an allowed pair, yet two sources share the one target they may reach."""
    cost = torch.tensor(
        [[0.1, torch.inf, torch.inf], [0.2, torch.inf, torch.inf], [0.3, 0.1, 0.2]], dtype=torch.float64
    )
    weights = torch.ones(3, dtype=torch.float64)
    with pytest.raises(partialot.InfeasibleProblemError, match=r"Found 0\.333 of the mass .* Allow more pairs"):
        partialot.solve(cost, weights, weights)
