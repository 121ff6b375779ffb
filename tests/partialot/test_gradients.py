"""Derivatives of value and plan: finite differences, the potentials that they are, agreement of the modes."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

import partialot
from tests.partialot.gradient_cases import ALL_MODES, INPUTS, MODES, PROBLEMS, as_function, inputs, run
from tests.partialot.problems import NamedProblem, random_problem
from tests.partialot.properties import SINKHORN

AGREEMENT = 1e-7
"""Two ways to one derivative, from plans solved to 1e-12."""

EACH_PROBLEM = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=list(PROBLEMS))
EACH_MODE = pytest.mark.parametrize("mode", MODES)
EVERY_MODE = pytest.mark.parametrize("mode", ALL_MODES)
# A long unrolled run differentiated at every entry takes a minute; its agreement with Implicit is tested all the same.
DIFFERENTIATED = [(mode, name) for mode in MODES for name in PROBLEMS if (mode, name) != ("Unrolled", "small_reg")]


@pytest.mark.parametrize(("mode", "name"), DIFFERENTIATED)
@pytest.mark.parametrize("wanted", INPUTS)
@pytest.mark.parametrize("output", ["plan", "value", "value_linear"])
def test_derivatives_agree_with_finite_differences(name: str, mode: str, wanted: str, output: str) -> None:
    function, point = as_function(PROBLEMS[name], mode, wanted, output)
    # Unrolled along random directions only: every entry costs a backward pass through all sweeps.
    assert gradcheck(function, point, eps=1e-6, atol=1e-6, rtol=1e-4, fast_mode=mode == "Unrolled")


@EVERY_MODE
@EACH_PROBLEM
def test_the_gradient_of_the_value_is_plan_potentials_price_and_divergence(problem: NamedProblem, mode: str) -> None:
    """∂C = P, ∂M = price, and ⟨(a, b, M), ∂⟩ = value; ∂reg = (value − linear part) / reg, the divergence."""
    arguments = inputs(problem)
    solution = run(mode, arguments)
    by_name = dict(zip(INPUTS, torch.autograd.grad(solution.value, list(arguments.values())), strict=True))
    assert_close(by_name["cost"], solution.plan.detach(), rtol=AGREEMENT, atol=1e-12)
    assert_close(by_name["mass"], solution.mass_price.detach(), rtol=AGREEMENT, atol=AGREEMENT)
    assert_close(by_name["reg"], (solution.value - solution.value_linear).detach() / problem.reg, rtol=1e-6, atol=1e-9)
    total = sum((arguments[name].detach() * by_name[name]).sum() for name in ("a", "b", "mass"))
    assert_close(total, solution.value.detach(), rtol=AGREEMENT, atol=1e-9)


@EVERY_MODE
def test_differences_of_weight_gradients_are_differences_of_potentials(mode: str) -> None:
    arguments = inputs(PROBLEMS["partial"])
    solution = run(mode, arguments)
    grad_a, grad_b = torch.autograd.grad(solution.value, [arguments["a"], arguments["b"]])
    for gradient, potential in zip((grad_a, grad_b), solution.potentials, strict=True):
        assert_close(gradient - gradient[0], (potential - potential[0]).detach(), rtol=1e-6, atol=1e-8)


@EACH_PROBLEM
@pytest.mark.parametrize("output", ["plan", "value", "value_linear"])
def test_implicit_and_unrolled_gradients_agree(problem: NamedProblem, output: str) -> None:
    found = []
    for mode in MODES:
        arguments = inputs(problem)
        answer = getattr(run(mode, arguments), output)
        looks = torch.sin(torch.arange(answer.numel(), dtype=torch.float64)).reshape(answer.shape) + 1.0
        found.append(torch.autograd.grad((looks * answer).sum(), list(arguments.values())))
    for name, implicit, unrolled in zip(INPUTS, *found, strict=True):
        if name in ("a", "b"):
            taking_part = inputs(problem)[name] > 0
            implicit, unrolled = implicit[taking_part], unrolled[taking_part]
        assert_close(implicit, unrolled, rtol=1e-5, atol=1e-7, msg=lambda text, name=name: f"{name}: {text}")


@EACH_MODE
@pytest.mark.parametrize("output", ["plan", "value"])
@pytest.mark.parametrize("wanted", ["cost", "a", "b"])
def test_balanced_derivatives_agree_along_every_change_that_keeps_the_totals(
    mode: str, output: str, wanted: str
) -> None:
    plain = random_problem(n=3, m=4)
    tensors = {"cost": plain.cost, "a": plain.a, "b": plain.b}

    def function(varied: Tensor) -> Tensor:
        given = tensors | {wanted: varied if wanted == "cost" else varied / varied.sum()}
        solution = partialot.solve(
            given["cost"], given["a"], given["b"], reg=0.2, solver=SINKHORN, gradient=MODES[mode]
        )
        return getattr(solution, output)

    assert gradcheck(
        function,
        (tensors[wanted].clone().requires_grad_(),),
        eps=1e-6,
        atol=1e-6,
        rtol=1e-4,
        fast_mode=mode == "Unrolled",
    )


@pytest.mark.parametrize("mode", ["Implicit", "Unrolled"])
@pytest.mark.parametrize("wanted", INPUTS)
def test_the_second_derivative_of_the_value_agrees_with_finite_differences(wanted: str, mode: str) -> None:
    function, point = as_function(PROBLEMS["partial"], mode, wanted, "value")
    assert gradgradcheck(function, point, eps=1e-6, atol=1e-6, rtol=1e-4, fast_mode=mode == "Unrolled")


def test_mixed_second_derivatives_are_symmetric() -> None:
    arguments = inputs(PROBLEMS["partial"])
    value = run("Implicit", arguments).value
    first = torch.autograd.grad(value, list(arguments.values()), create_graph=True)
    by_a = torch.autograd.grad(first[1].sum(), arguments["mass"], retain_graph=True)[0]
    by_mass = torch.autograd.grad(first[3], arguments["a"])[0].sum()
    assert_close(by_a, by_mass, rtol=1e-5, atol=1e-8)


@EACH_MODE
def test_gradients_of_a_batch_are_those_of_its_problems(mode: str) -> None:
    problem = PROBLEMS["partial"]
    arguments = inputs(problem)
    arguments["mass"] = torch.tensor([[0.2], [0.6]], dtype=torch.float64, requires_grad=True)
    arguments["reg"] = torch.tensor([0.1, 0.2, 0.5], dtype=torch.float64, requires_grad=True)
    run(mode, arguments).plan.square().sum().backward()
    alone = inputs(problem)
    total = torch.zeros((), dtype=torch.float64)
    for mass in (0.2, 0.6):
        for reg in (0.1, 0.2, 0.5):
            one = alone | {
                "mass": torch.tensor(mass, dtype=torch.float64),
                "reg": torch.tensor(reg, dtype=torch.float64),
            }
            total = total + run(mode, one).plan.square().sum()
    total.backward()
    for name in ("cost", "a", "b"):
        assert_close(arguments[name].grad, alone[name].grad, rtol=1e-7, atol=1e-9)
    assert arguments["mass"].grad is not None
    assert arguments["mass"].grad.shape == (2, 1)


def test_the_residual_of_the_adjoint_system_is_told_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    cost = torch.rand(6, 7, dtype=torch.float64, requires_grad=True)
    with caplog.at_level("DEBUG", logger="partialot"):
        partialot.solve(cost, mass=0.5, reg=0.1).plan.square().sum().backward()
    (record,) = [record for record in caplog.records if "adjoint" in record.message]
    assert float(record.message.split("residual ")[1].split()[0]) <= 1e-10
