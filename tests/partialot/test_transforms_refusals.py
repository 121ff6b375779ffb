"""What `solve` refuses under `torch.func`, and in which words."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import (  # pyright: ignore[reportPrivateImportUsage] - documented as public
    grad,
    hessian,
    jacfwd,
    jvp,
    vmap,
)

import partialot

FORWARD_MODE = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
"""PyTorch's own forward mode scripts decompositions when it is first used."""


@FORWARD_MODE
@pytest.mark.parametrize(
    "transform", [jacfwd, hessian, lambda f: lambda x: jvp(f, (x,), (x,))], ids=["jacfwd", "hessian", "jvp"]
)
def test_forward_mode_is_refused_with_a_remedy(transform: Callable[..., Callable[[Tensor], Tensor]]) -> None:
    message = r"Found one asked in forward mode.* Use `torch.func.vjp`, `jacrev` or `backward`\."
    with pytest.raises(partialot.NotDifferentiableError, match=message):
        transform(lambda cost: partialot.solve(cost, reg=0.1).value)(torch.rand(3, 4))


@FORWARD_MODE
def test_dual_tensors_are_refused_with_a_remedy() -> None:
    with torch.autograd.forward_ad.dual_level():
        cost = torch.autograd.forward_ad.make_dual(torch.rand(3, 4), torch.rand(3, 4))
        with pytest.raises(partialot.NotDifferentiableError, match=r"Found one asked in forward mode.* Use `torch"):
            partialot.solve(cost, reg=0.1)


def test_second_derivatives_are_refused_under_transforms_with_a_remedy() -> None:
    def value(cost: Tensor) -> Tensor:
        return partialot.solve(cost, reg=0.1).value

    message = r"Found a derivative of a derivative\. Outside of it, `torch\.autograd\.grad\(solution\.value"
    with pytest.raises(partialot.NotDifferentiableError, match=message):
        grad(lambda cost: grad(value)(cost).square().sum())(torch.rand(3, 4))


def test_an_infeasible_example_is_named_by_its_place_in_the_batch() -> None:
    masses, cost = torch.tensor([0.5, 1.5]), torch.rand(3, 4)
    with pytest.raises(partialot.InfeasibleProblemError, match=r"available in problem 1 of the batch"):
        vmap(lambda mass: partialot.solve(cost, mass=mass, reg=0.1).value)(masses)


def test_whole_numbers_are_refused_in_the_words_of_the_solve() -> None:
    cost = torch.rand(3, 4)
    with pytest.raises(TypeError, match=r"`cost` must be real and floating-point"):
        vmap(lambda cost: partialot.solve(cost, reg=0.1).value)(torch.ones(2, 3, 4, dtype=torch.int64))
    with pytest.raises(TypeError, match=r"`a` must be real and floating-point"):
        vmap(lambda a: partialot.solve(cost, a, reg=0.1).value)(torch.ones(2, 3, dtype=torch.int64))


def test_solves_that_miss_their_tolerance_warn_under_vmap() -> None:
    hasty = partialot.Sinkhorn(max_iter=2)
    with pytest.warns(partialot.ConvergenceWarning, match=r"in the worst of \d of 3 problems"):
        vmap(lambda cost: partialot.solve(cost, mass=0.5, reg=1e-3, solver=hasty).value)(torch.rand(3, 4, 5))


def test_what_needs_values_is_refused_under_a_transform_with_a_remedy() -> None:
    cloud = partialot.PointCloud(torch.rand(4, 2), torch.rand(5, 2), storage="blocks")
    with pytest.raises(NotImplementedError, match=r"Found one at work\. Solve the batch of problems without"):
        vmap(lambda cost: partialot.solve(cost, reg=0.1).certificate().gap)(torch.rand(2, 3, 4))
    with pytest.raises(NotImplementedError, match=r"Found one at work\. Pass `storage=\"matrix\"`"):
        vmap(lambda reg: partialot.solve(cloud, reg=reg).plan)(torch.tensor([0.1, 0.2]))
