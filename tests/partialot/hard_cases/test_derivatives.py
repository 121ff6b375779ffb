"""Derivatives where a one-sided limit, a constant or a second pass is in question."""

import pytest
import torch
from torch.testing import assert_close

import partialot
from tests.partialot.gradient_cases import ALL_MODES, MODES, PROBLEMS, inputs, run
from tests.partialot.problems import random_problem
from tests.partialot.properties import SINKHORN, solve

pytestmark = pytest.mark.timeout(60)
STEP = 1e-7


@pytest.mark.parametrize("mode", [*ALL_MODES, "ExactLP"])
def test_the_value_at_a_weight_of_zero_has_its_one_sided_derivative(mode: str) -> None:
    """What the first grain of mass at an empty node would change: the potential that the c-transform gives it."""
    problem = PROBLEMS["zero_weight"]

    def value(a: torch.Tensor) -> torch.Tensor:
        if mode == "ExactLP":
            return solve(problem, "ExactLP", a=a).value
        return solve_with(mode, a).value

    def solve_with(mode: str, a: torch.Tensor) -> partialot.Solution:
        return partialot.solve(
            problem.cost, a, problem.b, mass=problem.mass, reg=problem.reg, solver=SINKHORN, gradient=ALL_MODES[mode]
        )

    a = problem.a.clone().requires_grad_()
    (slope,) = torch.autograd.grad(value(a), a)
    grain = torch.zeros_like(problem.a)
    grain[1] = STEP
    found = (value(problem.a + grain) - value(problem.a)) / STEP
    assert_close(slope[1], found, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_the_plan_at_a_weight_of_zero_has_its_one_sided_derivative(mode: str) -> None:
    problem = PROBLEMS["zero_weight"]
    upstream = torch.randn(3, 4, dtype=torch.float64)
    arguments = inputs(problem)
    (slope,) = torch.autograd.grad((upstream * run(mode, arguments).plan).sum(), arguments["a"])
    grain = torch.zeros_like(problem.a)
    grain[1] = STEP
    plans = [solve(problem, a=problem.a + part * grain).plan for part in (1.0, 0.0)]
    assert_close(slope[1], (upstream * (plans[0] - plans[1])).sum() / STEP, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("mode", ALL_MODES)
def test_balanced_weight_gradients_are_centred_in_every_mode(mode: str) -> None:
    """Only differences are defined; the constant is chosen so that each side carries half of the value."""
    problem = random_problem(mass=None)
    a, b = (side.clone().requires_grad_() for side in (problem.a, problem.b))
    solution = partialot.solve(problem.cost, a, b, reg=0.1, solver=SINKHORN, gradient=ALL_MODES[mode])
    of_a, of_b = torch.autograd.grad(solution.value, (a, b))
    half = solution.value.detach() / 2
    assert_close((of_a * problem.a).sum(), half, rtol=1e-8, atol=0.0)
    assert_close((of_b * problem.b).sum(), half, rtol=1e-8, atol=0.0)


def test_a_second_derivative_of_the_plan_is_refused_in_words_by_backward() -> None:
    arguments = inputs(PROBLEMS["partial"])
    (slope,) = torch.autograd.grad(run("Implicit", arguments).plan.square().sum(), arguments["cost"], create_graph=True)
    with pytest.raises(RuntimeError, match="twice"):
        slope.square().sum().backward()


@pytest.mark.parametrize("with_value", [False, True])
def test_a_second_derivative_of_the_plan_is_right_or_refused_in_words(with_value: bool) -> None:
    """By the route of `gradgradcheck` and of everybody who names the inputs; judged by the sweeps' own derivative."""
    second: dict[str, torch.Tensor] = {}
    for mode in MODES:
        arguments = inputs(PROBLEMS["partial"])
        solution = run(mode, arguments)
        output = solution.plan.square().sum() + (solution.value if with_value else 0.0)
        (slope,) = torch.autograd.grad(output, arguments["cost"], create_graph=True)
        try:
            (second[mode],) = torch.autograd.grad(slope.square().sum(), arguments["cost"])
        except RuntimeError as refusal:
            assert mode == "Implicit"
            assert "twice" in str(refusal)  # noqa: PT017 - either outcome is right
    if "Implicit" in second:
        assert_close(second["Implicit"], second["Unrolled"], rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore::partialot.ConvergenceWarning")
@pytest.mark.parametrize("mode", MODES)
def test_a_gradient_before_convergence_comes_with_the_error_that_is_left(mode: str) -> None:
    problem = PROBLEMS["small_reg"]
    cost = problem.cost.clone().requires_grad_()
    few = partialot.Sinkhorn(max_iter=1, tol=1e-12)
    solution = partialot.solve(
        cost, problem.a, problem.b, mass=problem.mass, reg=problem.reg, solver=few, gradient=MODES[mode]
    )
    assert not solution.converged
    assert solution.marginal_error > 1e-12
    (slope,) = torch.autograd.grad(solution.plan.square().sum(), cost)
    assert slope.isfinite().all()


def test_anomaly_mode_changes_no_value() -> None:
    plain = solve(PROBLEMS["partial"])
    with pytest.warns(UserWarning, match="Anomaly Detection"), torch.autograd.detect_anomaly(check_nan=True):
        watched = solve(PROBLEMS["partial"])
    assert torch.equal(plain.plan, watched.plan)
    assert torch.equal(plain.value, watched.value)


def test_layers_have_no_parameters_that_a_distributed_wrapper_could_miss() -> None:
    for layer in (partialot.nn.TransportMatching(), partialot.nn.TransportLoss()):
        assert list(layer.parameters()) == []
        assert list(layer.buffers()) == []
        assert layer.state_dict() == {}
