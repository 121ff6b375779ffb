"""Derivatives where something vanishes, has not converged or does not exist: finite, or refused in words."""

import warnings

import pytest
import torch

import partialot
from tests.partialot.gradient_cases import ALL_MODES, PROBLEMS, inputs, run
from tests.partialot.problems import random_problem
from tests.partialot.properties import SINKHORN, solve

# The warning is about speed only.
ANOMALY = pytest.mark.filterwarnings("ignore:Anomaly Detection")
EVERY_MODE = pytest.mark.parametrize("mode", ALL_MODES)


@ANOMALY
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
    with pytest.raises(partialot.NotDifferentiableError, match=r"Envelope.*Found.*plan.*\. Pass.*Implicit"):
        answer.sum().backward()


@pytest.mark.parametrize(("tol", "max_iter"), [(0.0, 10), (-1e-6, 10), (None, 0)])
def test_settings_of_the_adjoint_system_out_of_range_are_refused(tol: float | None, max_iter: int) -> None:
    with pytest.raises(ValueError, match=rf"positive `tol`.*Found `tol = {tol}` and `max_iter = {max_iter}`\. Leave"):
        partialot.Implicit(tol=tol, max_iter=max_iter)


def test_an_adjoint_system_cut_short_warns_in_the_backward_pass() -> None:
    problem = random_problem(reg=0.02)
    cost = problem.cost.clone().requires_grad_()
    gradient = partialot.Implicit(max_iter=1)
    plan = partialot.solve(cost, problem.a, problem.b, mass=0.6, reg=0.02, solver=SINKHORN, gradient=gradient).plan
    with pytest.warns(partialot.ConvergenceWarning, match=r"adjoint.*stopped at .*\. Raise `Implicit"):
        plan.square().sum().backward()


def test_unrolling_an_exact_solve_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Unrolled.*Found ExactLP\. Pass `reg`"):
        partialot.solve(torch.rand(3, 4), mass=0.5, gradient=partialot.Unrolled())


def test_the_exact_plan_refuses_to_be_differentiated() -> None:
    """The plan of a linear programme is piecewise constant."""
    problem = random_problem()
    cost = problem.cost.clone().requires_grad_()
    with pytest.raises(partialot.NotDifferentiableError, match=r"reg=None.*Found.*plan.*\. Pass `reg`"):
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


@pytest.mark.parametrize("mass", [1e-2, 1e-5, 1e-8])
def test_small_masses_keep_the_digits_of_single_precision(mass: float) -> None:
    """Against float64 and the sweeps themselves; with dummies among the unknowns, float32 was 10 % off at 1e-5."""
    cost, weight = torch.rand(6, 6), torch.randn(6, 6)

    def gradient(dtype: torch.dtype, mode: partialot.Implicit | partialot.Unrolled, tol: float) -> torch.Tensor:
        matrix = cost.to(dtype).requires_grad_()
        solution = partialot.solve(matrix, mass=mass, reg=0.05, gradient=mode, solver=partialot.Sinkhorn(tol=tol))
        return torch.autograd.grad((solution.plan * weight.to(dtype)).sum(), matrix)[0].double()

    exact = gradient(torch.float64, partialot.Unrolled(), 1e-13)
    error = gradient(torch.float32, partialot.Implicit(), 1e-6) - exact
    assert error.norm() <= 1e-5 * exact.norm()


def test_unrolling_three_sweeps_is_the_derivative_of_three_sweeps() -> None:
    cost = torch.rand(4, 5, dtype=torch.float64)
    reg, mass = torch.tensor(0.02, dtype=torch.float64), torch.tensor(0.4, dtype=torch.float64)

    def outputs(cost: torch.Tensor, reg: torch.Tensor, mass: torch.Tensor) -> tuple[torch.Tensor, ...]:
        solution = partialot.solve(
            cost, mass=mass, reg=reg, gradient=partialot.Unrolled(), solver=partialot.Sinkhorn(max_iter=3, tol=1e-13)
        )
        return solution.value, solution.plan, solution.mass_price

    inputs = [tensor.clone().requires_grad_() for tensor in (cost, reg, mass)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", partialot.ConvergenceWarning)
        assert torch.autograd.gradcheck(outputs, inputs, atol=1e-6)


def test_unrolling_from_a_warm_start_is_refused() -> None:
    start = partialot.solve(torch.rand(4, 5), mass=0.4, reg=0.1)
    with pytest.raises(ValueError, match=r"must start from scratch.*Found an `init`\. Leave it out"):
        partialot.solve(torch.rand(4, 5), mass=0.4, reg=0.1, init=start, gradient=partialot.Unrolled())
