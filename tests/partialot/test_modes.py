"""`solve` under PyTorch's switches: no gradient, inference, autocast, anomaly mode, transforms, copies of modules."""

import copy
import pickle

import pytest
import torch
from torch.testing import assert_close

import partialot
from tests.partialot.problems import random_problem
from tests.partialot.properties import SINKHORN, SOLVERS, solve

Gradient = partialot.Implicit | partialot.Unrolled
BOTH = pytest.mark.parametrize("solver", SOLVERS)
# The warning is about speed only.
ANOMALY = pytest.mark.filterwarnings("ignore:Anomaly Detection")


@BOTH
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_the_plan_is_the_same(solver: str, mode: type[torch.no_grad | torch.inference_mode]) -> None:
    problem = random_problem()
    with mode():
        quiet = solve(problem, solver, cost=problem.cost.clone().requires_grad_())
    assert not quiet.plan.requires_grad
    assert torch.equal(quiet.plan, solve(problem, solver).plan)


def test_a_solution_for_inputs_without_gradient_has_none() -> None:
    solution = solve(random_problem())
    assert not solution.plan.requires_grad
    assert not solution.value.requires_grad


def test_a_frozen_cost_still_passes_gradients_to_the_weights() -> None:
    problem = random_problem()
    a = problem.a.clone().requires_grad_()
    solve(problem, a=a).plan.square().sum().backward()
    assert a.grad is not None
    assert a.grad.abs().max() > 0


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_pushes_nothing_to_half_precision(half: torch.dtype) -> None:
    cost = torch.rand(6, 7)
    plain = partialot.solve(cost, mass=0.5, reg=0.05)
    with torch.autocast("cpu", dtype=half):
        cast = partialot.solve(cost, mass=0.5, reg=0.05)
        gradient = torch.autograd.grad(partialot.solve(cost.requires_grad_(), mass=0.5, reg=0.05).plan[0, 0], cost)[0]
    reference = torch.autograd.grad(partialot.solve(cost, mass=0.5, reg=0.05).plan[0, 0], cost)[0]
    assert cast.plan.dtype == torch.float32
    assert torch.equal(cast.plan, plain.plan)
    assert_close(gradient, reference, rtol=1e-6, atol=1e-9)


@ANOMALY
@pytest.mark.parametrize(("gradient", "reg"), [(partialot.Implicit(), 0.01), (partialot.Unrolled(), 0.05)], ids=repr)
def test_no_nan_appears_inside_at_small_regularisation(gradient: Gradient, reg: float) -> None:
    problem = random_problem()
    cost = problem.cost.clone().requires_grad_()
    with torch.autograd.detect_anomaly(check_nan=True):
        solution = partialot.solve(cost, problem.a, problem.b, mass=0.6, reg=reg, solver=SINKHORN, gradient=gradient)
        (solution.plan * problem.cost).sum().backward()
    assert cost.grad is not None
    assert cost.grad.isfinite().all()


def test_functional_gradients_are_refused_not_wrong() -> None:
    problem = random_problem()

    def value(cost: torch.Tensor) -> torch.Tensor:
        return partialot.solve(cost, problem.a, problem.b, mass=0.6, reg=0.1, solver=SINKHORN).value

    with pytest.raises(RuntimeError, match=r"functorch transforms .* setup_context"):
        torch.func.grad(value)(problem.cost)


def test_solver_and_gradient_settings_are_frozen_and_survive_copies() -> None:
    for settings in (partialot.Sinkhorn(), partialot.ExactLP(), partialot.Implicit(), partialot.Envelope()):
        assert copy.deepcopy(settings) == settings
        assert pickle.loads(pickle.dumps(settings)) == settings


def test_a_solution_can_be_unpacked_by_name_but_not_changed() -> None:
    solution = solve(random_problem())
    with pytest.raises(AttributeError, match="plan"):
        solution.plan = torch.zeros(6, 7)  # pyright: ignore[reportAttributeAccessIssue]


def test_at_most_twenty_names_are_public_and_each_exists() -> None:
    assert len(partialot.__all__) <= 20
    assert all(hasattr(partialot, name) for name in partialot.__all__)
    contract = "solve augment Problem DenseCost Sinkhorn ExactLP Implicit Unrolled Envelope Solution Certificate"
    assert set(contract.split()) <= set(partialot.__all__)
