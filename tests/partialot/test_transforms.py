"""`solve` under `torch.func`: each transform beside a loop over ordinary solves."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import (  # pyright: ignore[reportPrivateImportUsage] - documented as public
    functional_call,
    grad,
    jacrev,
    vmap,
)
from torch.testing import assert_close

import partialot

F64 = torch.float64
TIGHT = partialot.Sinkhorn(tol=1e-12, max_iter=5000)

Inputs = tuple[Tensor, Tensor, Tensor]


@pytest.fixture
def batch() -> Inputs:
    """Four problems of their own costs and sources and of shared targets."""
    generator = torch.Generator().manual_seed(3)
    cost, a, b = (torch.rand(shape, generator=generator, dtype=F64) for shape in ((4, 5, 6), (4, 5), (6,)))
    return cost, a + 0.1, b + 0.1


def everything(cost: Tensor, a: Tensor, b: Tensor, mass: float | Tensor = 0.4, reg: float | Tensor = 0.1) -> Tensor:
    """Give a number to which plan, value, potentials, price and marginals contribute."""
    solution = partialot.solve(cost, a, b, mass=mass, reg=reg, solver=TIGHT)
    weighted = (solution.plan.cos() * cost).sum() + solution.slack_a.square().sum() + solution.value_linear
    return weighted + solution.value + solution.mass_price + sum(side.square().sum() for side in solution.potentials)


def looped(cost: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Inputs]:
    """Give `everything` and its derivatives for each problem by itself, by ordinary backward passes."""
    numbers: list[Tensor] = []
    slopes: list[tuple[Tensor, ...]] = []
    for one, weights in zip(cost, a, strict=True):
        leaves = [x.clone().requires_grad_() for x in (one, weights, b)]
        numbers.append(everything(*leaves))
        slopes.append(torch.autograd.grad(numbers[-1], leaves))
    of_cost, of_a, of_b = (torch.stack(parts) for parts in zip(*slopes, strict=True))
    return torch.stack(numbers).detach(), (of_cost, of_a, of_b)


def test_the_functional_gradient_is_that_of_a_backward_pass(batch: Inputs) -> None:
    cost, a, b = batch
    found = grad(everything, argnums=(0, 1, 2))(cost[0], a[0], b)
    for slope, expected in zip(found, looped(*batch)[1], strict=True):
        assert_close(slope, expected[0])


def test_vmap_gives_what_a_loop_gives(batch: Inputs) -> None:
    assert_close(vmap(everything, in_dims=(0, 0, None))(*batch), looped(*batch)[0])


def test_gradients_per_sample_are_those_of_a_loop_shared_inputs_included(batch: Inputs) -> None:
    found = vmap(grad(everything, argnums=(0, 1, 2)), in_dims=(0, 0, None))(*batch)
    for slopes, expected in zip(found, looped(*batch)[1], strict=True):
        assert_close(slopes, expected)


def test_the_gradient_of_a_sum_over_vmap_sums_over_shared_inputs(batch: Inputs) -> None:
    def total(cost: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return vmap(everything, in_dims=(0, 0, None))(cost, a, b).sum()

    of_cost, of_a, of_b = looped(*batch)[1]
    for slopes, expected in zip(grad(total, argnums=(0, 1, 2))(*batch), (of_cost, of_a, of_b.sum(0)), strict=True):
        assert_close(slopes, expected)


def test_an_ordinary_backward_pass_goes_through_vmap(batch: Inputs) -> None:
    cost, a, b = batch
    cost = cost.clone().requires_grad_()
    vmap(everything, in_dims=(0, 0, None))(cost, a, b).sum().backward()
    assert cost.grad is not None
    assert_close(cost.grad, looped(*batch)[1][0])


def rows_of_the_jacobian(cost: Tensor, a: Tensor, b: Tensor) -> Tensor:
    cost = cost.clone().requires_grad_()
    plan = partialot.solve(cost, a, b, mass=0.4, reg=0.1, solver=TIGHT).plan
    rows = [torch.autograd.grad(entry, cost, retain_graph=True)[0] for entry in plan.flatten()]
    return torch.stack(rows).reshape(*plan.shape, *cost.shape)


def plan_of(cost: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return partialot.solve(cost, a, b, mass=0.4, reg=0.1, solver=TIGHT).plan


def test_the_jacobian_of_the_plan_is_a_loop_of_backward_passes(batch: Inputs) -> None:
    cost, a, b = batch
    expected = rows_of_the_jacobian(cost[1], a[1], b)
    assert_close(jacrev(plan_of)(cost[1], a[1], b), expected)
    assert_close(vmap(jacrev(plan_of), in_dims=(0, 0, None))(*batch)[1], expected)


def test_nested_dimensions_meet_batches_of_the_problem_itself(batch: Inputs) -> None:
    """The outer one over regularisations, the inner one over costs, a batch of weights inside."""
    cost, a, b = batch
    regs = torch.tensor([0.1, 0.2, 0.4], dtype=F64)

    def value(cost: Tensor, reg: Tensor) -> Tensor:
        return partialot.solve(cost, a, b, mass=0.3, reg=reg, solver=TIGHT).value

    found = vmap(lambda reg: vmap(lambda one: value(one, reg), in_dims=2)(cost.movedim(0, 2)))(regs)
    assert_close(found, value(cost[None, :, None], regs[:, None, None].expand(3, 4, 4)))


def test_a_dimension_of_the_regularisation_alone_has_gradients_of_its_own(batch: Inputs) -> None:
    cost, a, b = (batch[0][0], batch[1][0], batch[2])
    regs = torch.tensor([0.1, 0.3], dtype=F64)
    found = vmap(grad(lambda reg: everything(cost, a, b, reg=reg)))(regs)
    for slope, reg in zip(found, regs, strict=True):
        leaf = reg.clone().requires_grad_()
        assert_close(slope, torch.autograd.grad(everything(cost, a, b, reg=leaf), leaf)[0])


def test_a_price_of_mass_has_gradients_of_its_own_under_vmap(batch: Inputs) -> None:
    def value(price: Tensor) -> Tensor:
        return partialot.solve(batch[0][0], mass=partialot.Price(price), reg=0.1, solver=TIGHT).value

    prices = torch.tensor([0.2, 0.5], dtype=F64)
    leaf = prices.clone().requires_grad_()
    assert_close(vmap(grad(value))(prices), torch.autograd.grad(value(leaf[0]) + value(leaf[1]), leaf)[0])


@pytest.mark.parametrize("solver", [partialot.ExactLP(), TIGHT], ids=repr)
@pytest.mark.parametrize("gradient", [partialot.Implicit(), partialot.Envelope()], ids=repr)
def test_every_solver_and_gradient_gives_the_value_its_derivative(
    batch: Inputs, solver: partialot.Sinkhorn | partialot.ExactLP, gradient: partialot.Implicit | partialot.Envelope
) -> None:
    reg = None if isinstance(solver, partialot.ExactLP) else 0.1

    def value(cost: Tensor) -> Tensor:
        return partialot.solve(cost, batch[1], mass=0.4, reg=reg, solver=solver, gradient=gradient).value.sum()

    cost = batch[0][0].clone().requires_grad_()
    assert_close(grad(value)(batch[0][0]), torch.autograd.grad(value(cost), cost)[0])


def test_unrolled_sweeps_are_differentiated_under_transforms_too(batch: Inputs) -> None:
    def number(cost: Tensor) -> Tensor:
        plan = partialot.solve(cost, mass=0.4, reg=0.2, gradient=partialot.Unrolled()).plan
        return plan.square().sum()

    cost = batch[0][:2].clone().requires_grad_()
    expected = torch.stack([torch.autograd.grad(number(one), one)[0] for one in cost])
    assert_close(vmap(grad(number))(batch[0][:2]), expected)


def test_the_plan_of_an_exact_solve_refuses_under_transforms_too(batch: Inputs) -> None:
    with pytest.raises(partialot.NotDifferentiableError, match="Found one asked of the plan"):
        grad(lambda cost: partialot.solve(cost).plan[0, 0])(batch[0][0])


def test_a_solution_of_another_solve_is_a_start_under_vmap(batch: Inputs) -> None:
    cost = batch[0]
    known = partialot.solve(cost, mass=0.4, reg=0.1)
    constant = partialot.solve(cost[0], mass=0.4, reg=0.1)
    again = vmap(lambda one: partialot.solve(one, mass=0.4, reg=0.1, init=constant).n_iter)(cost)
    inside = vmap(
        lambda one: partialot.solve(one, mass=0.4, reg=0.1, init=partialot.solve(one, mass=0.4, reg=0.1)).n_iter
    )(cost)
    assert again[0] < known.n_iter[0]
    assert (inside < known.n_iter).all()


def test_arrays_and_defaults_stand_beside_tensors_under_vmap(batch: Inputs) -> None:
    weights = np.array([[0.2] * 5, [0.1] * 4 + [0.6]])
    found = vmap(lambda one: partialot.solve(one, weights, mass=np.array([0.3, 0.5]), reg=0.1).value)(batch[0])
    expected = [partialot.solve(one, weights, mass=np.array([0.3, 0.5]), reg=0.1).value for one in batch[0]]
    assert_close(found, torch.stack(expected))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_vmap_without_gradients_gives_the_same(batch: Inputs, mode: type[torch.no_grad | torch.inference_mode]) -> None:
    with mode():
        quiet = vmap(everything, in_dims=(0, 0, None))(*batch)
    assert not quiet.requires_grad
    assert torch.equal(quiet, vmap(everything, in_dims=(0, 0, None))(*batch))


@pytest.mark.parametrize("cost", ["sqeuclidean", torch.cdist], ids=["named", "own"])
@pytest.mark.parametrize("storage", ["matrix", "blocks"])
def test_clouds_have_gradients_per_sample(storage: str, cost: str | Callable[[Tensor, Tensor], Tensor]) -> None:
    generator = torch.Generator().manual_seed(5)
    x, y = (torch.rand(shape, generator=generator, dtype=F64) for shape in ((3, 8, 2), (9, 2)))

    def value(x: Tensor, y: Tensor) -> Tensor:
        cloud = partialot.PointCloud(x, y, cost, storage=storage)  # pyright: ignore[reportArgumentType]
        return partialot.solve(cloud, mass=0.4, reg=0.1, solver=TIGHT).value

    of_x, of_y = vmap(grad(value, argnums=(0, 1)), in_dims=(0, None))(x, y)
    for index in range(3):
        leaves = [x[index].clone().requires_grad_(), y.clone().requires_grad_()]
        expected = torch.autograd.grad(value(*leaves), leaves)
        assert_close((of_x[index], of_y[index]), expected)


def test_a_layer_is_called_functionally_with_gradients_per_sample() -> None:
    """Gradients of the weights of a network before the layer, the recipe of differential privacy."""
    generator = torch.Generator().manual_seed(7)
    embed, loss = torch.nn.Linear(3, 2, dtype=F64), partialot.nn.TransportLoss(reg=0.1, mass=0.5, solver=TIGHT)
    x, y = (torch.rand(shape, generator=generator, dtype=F64) for shape in ((3, 6, 3), (3, 7, 2)))
    parameters = {name: parameter.detach() for name, parameter in embed.named_parameters()}

    def value(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return loss(functional_call(embed, parameters, (x,)), y)

    found = vmap(grad(value), in_dims=(None, 0, 0))(parameters, x, y)["weight"]
    expected = [torch.autograd.grad(loss(embed(one), other), embed.weight)[0] for one, other in zip(x, y, strict=True)]
    assert_close(found, torch.stack(expected))
