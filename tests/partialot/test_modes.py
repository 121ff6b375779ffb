"""`solve` under PyTorch's switches: no gradient, inference, autocast, anomaly mode, transforms, copies of modules."""

import copy
import pickle
import subprocess
import sys

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


COMPILED = """
import warnings
import torch, partialot
from torch.testing import assert_close

graphs = []
layer, embed = partialot.nn.TransportMatching(reg=0.1), torch.nn.Linear(3, 3)

def loss(x, y):
    solution = layer(embed(x), embed(y), mass=0.4)
    return solution.plan.square().sum() + solution.value.sum()

def counting(graph, inputs):
    graphs.append(graph)
    return graph

counts = []
for backend in (counting, "aot_eager"):
    torch.compiler.reset()
    compiled = torch.compile(loss, backend=backend)
    for _ in range(3):
        x, y = torch.rand(2, 6, 3), torch.rand(2, 7, 3)
        found, expected = compiled(x, y), loss(x, y)
        assert_close(found, expected)
        assert_close(torch.autograd.grad(found, embed.weight), torch.autograd.grad(expected, embed.weight))
        counts.append(len(graphs))
assert counts[0] > 0 and len(set(counts)) == 1, counts

solver = partialot.Sinkhorn(max_iter=2)
hasty = torch.compile(lambda cost: partialot.solve(cost, reg=1e-3, solver=solver).value, backend="eager")
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    hasty(torch.rand(4, 5))
assert any(issubclass(warning.category, partialot.ConvergenceWarning) for warning in seen)
"""


def test_a_compiled_model_is_compiled_once_with_the_values_gradients_and_warnings_of_the_plain_one() -> None:
    """In a process of its own: the compiler cannot trace the run-time type checks that the tests switch on."""
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


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
