"""Derivatives of value and plan: finite differences, the potentials that they are, agreement of the modes, refusals."""

from collections.abc import Callable
from dataclasses import replace
from math import inf

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

import partialot
from tests.partialot.problems import NamedProblem, random_problem
from tests.partialot.properties import SINKHORN, solve

MODES = {"Implicit": partialot.Implicit(), "Unrolled": partialot.Unrolled()}
"""The modes that differentiate the plan; a new one inherits every test here."""
ALL_MODES = MODES | {"Envelope": partialot.Envelope()}
INPUTS = ("cost", "a", "b", "mass", "reg")
AGREEMENT = 1e-7
"""Two ways to one derivative, from plans solved to 1e-12."""


def _problems() -> dict[str, NamedProblem]:
    plain = random_problem(n=3, m=4, reg=0.2)
    emptied, blocked = plain.a.clone(), plain.cost.clone()
    emptied[1], blocked[0, 2], blocked[2, 0] = 0.0, inf, inf
    return {
        "partial": plain,
        "little_mass": replace(plain, mass=1e-2),
        "zero_weight": replace(plain, a=emptied, mass=0.4),
        "forbidden": replace(plain, cost=blocked),
        "small_reg": replace(plain, reg=0.03),
        "negative_costs": replace(plain, cost=plain.cost - 1.0),
    }


PROBLEMS = _problems()
EACH_PROBLEM = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=list(PROBLEMS))
EACH_MODE = pytest.mark.parametrize("mode", MODES)
EVERY_MODE = pytest.mark.parametrize("mode", ALL_MODES)


def inputs(problem: NamedProblem) -> dict[str, Tensor]:
    """The arguments of `solve` as float64 leaves."""
    assert problem.mass is not None
    numbers = (problem.cost, problem.a, problem.b, torch.tensor(problem.mass), torch.tensor(problem.reg))
    return {
        name: number.detach().double().clone().requires_grad_() for name, number in zip(INPUTS, numbers, strict=True)
    }


def run(mode: str, arguments: dict[str, Tensor]) -> partialot.Solution:
    """Solve in a gradient mode."""
    others = {name: tensor for name, tensor in arguments.items() if name != "cost"}
    return partialot.solve(arguments["cost"], **others, solver=SINKHORN, gradient=ALL_MODES[mode])  # pyright: ignore[reportArgumentType]


def as_function(
    problem: NamedProblem, mode: str, wanted: str, output: str
) -> tuple[Callable[[Tensor], Tensor], tuple[Tensor]]:
    """An output of `solve` as a function of one input, and where to differentiate it: on what takes part.

    Forbidden pairs stay forbidden and nodes of weight 0 empty; their derivatives have tests of their own.
    """
    arguments = {name: tensor.detach() for name, tensor in inputs(problem).items()}
    whole = arguments[wanted]
    free = whole.isfinite() & (whole != 0)

    def function(varied: Tensor) -> Tensor:
        full = whole.masked_scatter(free, varied) if whole.ndim else varied
        return getattr(run(mode, arguments | {wanted: full}), output)

    return function, ((whole[free] if whole.ndim else whole).clone().requires_grad_(),)


@EACH_MODE
@EACH_PROBLEM
@pytest.mark.parametrize("wanted", INPUTS)
@pytest.mark.parametrize("output", ["plan", "value", "value_linear"])
def test_derivatives_agree_with_finite_differences(problem: NamedProblem, mode: str, wanted: str, output: str) -> None:
    function, point = as_function(problem, mode, wanted, output)
    # The step stays well inside the smallest number: a mass of 0.01 or a reg of 0.03 bends faster than a cost.
    assert gradcheck(function, point, eps=1e-6, atol=1e-5, rtol=1e-4)


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


@EVERY_MODE
@pytest.mark.parametrize("name", ["zero_weight", "forbidden"])
def test_nothing_that_takes_no_part_makes_a_gradient_nan(name: str, mode: str) -> None:
    arguments = inputs(PROBLEMS[name])
    solution = run(mode, arguments)
    outputs = [solution.value] if mode == "Envelope" else [solution.value, solution.plan.square().sum()]
    with torch.autograd.detect_anomaly(check_nan=True):
        for output in outputs:
            gradients = torch.autograd.grad(output, list(arguments.values()), retain_graph=True)
            assert all(gradient.isfinite().all() for gradient in gradients)
            assert (gradients[0][arguments["cost"].isinf()] == 0).all()
            assert (gradients[0][arguments["a"] == 0] == 0).all()


@EVERY_MODE
@pytest.mark.parametrize("mass", [0.0, 0.7, 1.0, None])
def test_gradients_at_the_ends_of_the_mass_are_finite(mass: float | None, mode: str) -> None:
    """Nothing moved, all of the smaller side, all of both sides, balanced: a dummy or the plan has vanished."""
    plain = random_problem(n=3, m=4)
    a = 0.7 * plain.a if mass == 0.7 else plain.a
    leaves = [tensor.detach().clone().requires_grad_() for tensor in (plain.cost, a, plain.b)]
    total = leaves[1].detach().sum() if mass == 0.7 else mass
    solution = partialot.solve(*leaves, mass=total, reg=0.2, solver=SINKHORN, gradient=ALL_MODES[mode])  # pyright: ignore[reportArgumentType]
    outputs = [solution.value] if mode == "Envelope" else [solution.value, solution.plan.square().sum()]
    for output in outputs:
        assert all(g.isfinite().all() for g in torch.autograd.grad(output, leaves, retain_graph=True))


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

    assert gradcheck(function, (tensors[wanted].clone().requires_grad_(),), eps=1e-6, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("mode", ["Implicit", "Unrolled"])
@pytest.mark.parametrize("wanted", INPUTS)
def test_the_second_derivative_of_the_value_agrees_with_finite_differences(wanted: str, mode: str) -> None:
    function, point = as_function(PROBLEMS["partial"], mode, wanted, "value")
    assert gradgradcheck(function, point, eps=1e-6, atol=1e-5, rtol=1e-4)


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
            one = alone | {"mass": torch.tensor(mass).double(), "reg": torch.tensor(reg).double()}
            total = total + run(mode, one).plan.square().sum()
    total.backward()
    for name in ("cost", "a", "b"):
        assert_close(arguments[name].grad, alone[name].grad, rtol=1e-7, atol=1e-9)
    assert arguments["mass"].grad is not None
    assert arguments["mass"].grad.shape == (2, 1)


@EVERY_MODE
@pytest.mark.filterwarnings("ignore::partialot.ConvergenceWarning")
def test_an_unconverged_solve_still_has_a_finite_gradient(mode: str) -> None:
    arguments = inputs(PROBLEMS["small_reg"])
    others = {name: tensor for name, tensor in arguments.items() if name != "cost"}
    solver = partialot.Sinkhorn(max_iter=2, tol=1e-12)
    solution = partialot.solve(arguments["cost"], **others, solver=solver, gradient=ALL_MODES[mode])  # pyright: ignore[reportArgumentType]
    assert not solution.converged
    solution.value.backward()
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in arguments.values())


@pytest.mark.parametrize("output", ["plan", "value_linear"])
def test_envelope_refuses_to_differentiate_what_it_holds_fixed(output: str) -> None:
    arguments = inputs(PROBLEMS["partial"])
    answer = getattr(run("Envelope", arguments), output)
    with pytest.raises(RuntimeError, match=r"(?s)Envelope.*Implicit"):
        answer.sum().backward()


def test_the_exact_plan_refuses_to_be_differentiated() -> None:
    """The plan of a linear programme is piecewise constant."""
    problem = random_problem()
    cost = problem.cost.clone().requires_grad_()
    with pytest.raises(RuntimeError, match=r"(?s)ExactLP.*reg"):
        solve(problem, "ExactLP", cost=cost).plan.square().sum().backward()


def test_exact_gradients_are_supporting_planes() -> None:
    """The exact value is concave in the cost and convex in (a, b, M): its gradients bound it everywhere."""
    problem = random_problem()
    leaves = {name: t.detach().clone().requires_grad_() for name, t in inputs(problem).items() if name != "reg"}
    value = solve(problem, "ExactLP", **leaves).value
    gradients = dict(zip(leaves, torch.autograd.grad(value, list(leaves.values())), strict=True))
    generator = torch.Generator().manual_seed(1)
    for _ in range(50):
        moved = {
            name: (leaf.detach() + 0.1 * torch.rand(leaf.shape, generator=generator, dtype=leaf.dtype) - 0.02).clamp(
                min=0
            )
            for name, leaf in leaves.items()
        }
        plane = {
            name: value.detach() + (gradients[name] * (moved[name] - leaf.detach())).sum()
            for name, leaf in leaves.items()
        }
        assert solve(problem, "ExactLP", cost=moved["cost"]).value <= plane["cost"] + 1e-12
        weights = {name: moved[name] for name in ("a", "b", "mass")}
        together = sum(plane[name] for name in weights) - 2 * value.detach()
        assert solve(problem, "ExactLP", **weights).value >= together - 1e-12
