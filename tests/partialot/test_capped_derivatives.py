"""Derivatives of the capped formulation, against finite differences and closed forms."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

import partialot
from tests.partialot.capped_cases import BLOCKED, NEARLY_ALL, PLAIN, capped
from tests.partialot.problems import NamedProblem
from tests.partialot.properties import SINKHORN

LITTLE = replace(PLAIN, name="little_mass", mass=1e-2)
INPUTS = ("cost", "a", "b", "mass", "reg")


@pytest.mark.parametrize("wanted", INPUTS)
@pytest.mark.parametrize("problem", [PLAIN, LITTLE], ids=str)
def test_derivatives_agree_with_finite_differences(problem: NamedProblem, wanted: str) -> None:
    given = inputs(problem)

    def function(varied: Tensor) -> tuple[Tensor, Tensor]:
        solution = capped(problem, **given | {wanted: varied})
        return solution.plan, solution.value

    point = given[wanted].clone().requires_grad_()
    assert gradcheck(function, (point,), eps=1e-6, atol=1e-6, rtol=1e-4, fast_mode=True)
    assert gradgradcheck(lambda varied: function(varied)[1], (point,), eps=1e-6, atol=1e-6, rtol=1e-4, fast_mode=True)


def test_derivatives_of_the_plan_where_nearly_all_nodes_are_bound_agree_with_finite_differences() -> None:
    cost = NEARLY_ALL.cost.clone().requires_grad_()
    assert gradcheck(
        lambda varied: capped(NEARLY_ALL, cost=varied).plan, (cost,), eps=1e-6, atol=1e-6, rtol=1e-4, fast_mode=True
    )


def inputs(problem: NamedProblem) -> dict[str, Tensor]:
    numbers = (
        problem.cost,
        problem.a,
        problem.b,
        torch.tensor(problem.moved).double(),
        torch.tensor(problem.reg).double(),
    )
    return dict(zip(INPUTS, numbers, strict=True))


@pytest.mark.parametrize("gradient", [partialot.Implicit(), partialot.Envelope()], ids=str)
def test_the_gradient_of_the_value_is_plan_potentials_price_and_entropy(gradient: partialot.Implicit) -> None:
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in inputs(PLAIN).items()}
    solution = capped(PLAIN, **leaves, gradient=gradient)  # pyright: ignore[reportArgumentType]
    solution.value.backward()
    found = {name: leaf.grad for name, leaf in leaves.items()}
    (f, g), plan = (side.detach() for side in solution.potentials), solution.plan.detach()
    assert_close(found["cost"], plan)
    assert_close(found["mass"], solution.mass_price.detach())
    assert_close(found["a"], f)
    assert_close(found["b"], g - solution.mass_price.detach())
    assert_close(found["reg"], (plan * (plan.log() - 1)).sum(), rtol=1e-9, atol=1e-12)


def test_at_a_kink_the_derivative_is_that_of_the_side_with_room() -> None:
    """One pair that may move all it has: more weight changes nothing, and that is the derivative given."""
    one = torch.ones(1, dtype=torch.float64)
    a = one.clone().requires_grad_()
    mass = torch.tensor(0.5, dtype=torch.float64)
    solution = partialot.solve(one[None], a, 2 * one, mass=mass, reg=1.0, formulation="capped", solver=SINKHORN)
    solution.plan.sum().backward()
    assert a.grad is not None
    assert_close(a.grad, torch.zeros_like(a))


def test_zero_weights_and_forbidden_pairs_have_finite_derivatives() -> None:
    empty = PLAIN.a.clone()
    empty[1] = 0.0
    given = inputs(BLOCKED) | {"a": empty, "mass": torch.tensor(0.4).double()}
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in given.items()}
    solution = capped(BLOCKED, **leaves)
    assert (solution.plan[1] == 0).all()
    ((solution.plan**2).sum() + solution.value).backward()
    for leaf in leaves.values():
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
    assert leaves["cost"].grad is not None
    assert leaves["cost"].grad[0, 2] == 0


def test_lazy_prices_give_the_plan_and_the_derivatives_of_stored_ones() -> None:
    x, y = torch.rand(5, 2, dtype=torch.float64), torch.rand(4, 2, dtype=torch.float64)
    a = torch.tensor([0.3, 0.2, 0.1, 0.4, 0.0], dtype=torch.float64)
    found = []
    for lazy in (True, False):
        leaves = [tensor.clone().requires_grad_() for tensor in (x, a)]
        geometry = partialot.PointCloud(leaves[0], y, "sqeuclidean", storage="blocks" if lazy else "matrix")
        solution = partialot.solve(geometry, leaves[1], mass=0.7, reg=0.1, formulation="capped", solver=SINKHORN)
        assert solution.problem.geometry.is_lazy == lazy
        (solution.value + (solution.apply(y) ** 2).sum()).backward()
        found.append((solution.plan.detach(), solution.value.detach(), *(leaf.grad for leaf in leaves)))
    for one, other in zip(*found, strict=True):
        assert_close(one, other, rtol=1e-8, atol=1e-10)
