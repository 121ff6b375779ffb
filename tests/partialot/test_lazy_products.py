"""Products with a plan that is not stored: their derivatives, and what is kept for them."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import partialot
from partialot import blocks as blocks_module
from tests.partialot.properties import SINKHORN
from tests.partialot.test_lazy import ALL_COSTS, features, weights

pytestmark = pytest.mark.usefixtures("small_blocks")

PRODUCTS: dict[str, Callable[[partialot.Solution, Tensor, Tensor], Tensor]] = {
    "apply": lambda solution, x, y: solution.apply(y),
    "apply_transpose": lambda solution, x, y: solution.apply_transpose(x),
    "value_linear": lambda solution, x, y: solution.value_linear,
}
EVERY_PRODUCT = pytest.mark.parametrize("product", PRODUCTS)
MASS, REG = (torch.tensor(number, dtype=torch.float64) for number in (0.6, 0.4))


@EVERY_PRODUCT
@pytest.mark.parametrize("cost", ["cosine", "own"])
def test_derivatives_by_every_input_are_those_of_finite_differences(product: str, cost: str) -> None:
    """Features, weights, mass, `reg`, and the vectors, which are the features once more."""

    def function(x: Tensor, y: Tensor, a: Tensor, b: Tensor, mass: Tensor, reg: Tensor) -> Tensor:
        cloud = partialot.PointCloud(x, y, ALL_COSTS[cost], storage="blocks")
        solver = partialot.Sinkhorn(max_iter=20_000, tol=1e-13)
        return PRODUCTS[product](partialot.solve(cloud, a, b, mass=mass, reg=reg, solver=solver), x, y)

    # A large `reg`, since every evaluation sweeps to the last digits.
    scalars = [number.clone().requires_grad_() for number in (MASS, 10 * REG)]
    inputs = *(side.detach()[:1, :4].requires_grad_() for side in features()), weights(4), weights(4), *scalars
    assert torch.autograd.gradcheck(function, inputs, eps=1e-5, atol=1e-5, rtol=1e-5, fast_mode=True)


@EVERY_PRODUCT
@pytest.mark.parametrize("problem", ["capped", "priced", "empty nodes"])
def test_blocks_and_matrix_give_one_derivative_in_every_kind_of_problem(product: str, problem: str) -> None:
    found = []
    for storage in ("blocks", "matrix"):
        x, y = features()
        empty = 2 if problem == "empty nodes" else None
        inputs = x, y, weights(7, empty=empty), weights(6), MASS.clone().requires_grad_(), REG.clone().requires_grad_()
        cloud = partialot.PointCloud(x, y, storage=storage)  # pyright: ignore[reportArgumentType]
        mass = partialot.Price(8 * inputs[4]) if problem == "priced" else inputs[4]
        formulation = "capped" if problem == "capped" else "dummy"
        solution = partialot.solve(
            cloud, *inputs[2:4], mass=mass, reg=inputs[5], formulation=formulation, solver=SINKHORN
        )
        read = PRODUCTS[product](solution, x, y)
        factors = torch.linspace(-1, 2, read.numel(), dtype=torch.float64).reshape(read.shape)
        found.append((read, *torch.autograd.grad((read * factors).sum(), inputs)))
    for lazy, stored in zip(*found, strict=True):
        assert_close(lazy, stored, rtol=1e-7, atol=1e-8)


@EVERY_PRODUCT
def test_second_derivatives_are_refused_not_wrong(product: str) -> None:
    x, y = features()
    cloud = partialot.PointCloud(x, y, storage="blocks")
    solution = partialot.solve(cloud, mass=0.6, reg=0.4, solver=SINKHORN)
    read = PRODUCTS[product](solution, x.detach(), y.detach())
    (first,) = torch.autograd.grad(read.square().sum(), x, create_graph=True)
    match = r"must not be differentiated twice .*\. Found a second differentiation\. Pass `gradient=Unrolled\(\)`"
    with pytest.raises(partialot.NotDifferentiableError, match=match):
        torch.autograd.grad(first.sum(), x)


def test_the_envelope_differentiates_products_by_their_vectors_alone() -> None:
    x, y = features()
    vectors = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(6, 2).requires_grad_()
    arguments = {"mass": 0.6, "reg": 0.4, "solver": SINKHORN, "gradient": partialot.Envelope()}
    solution = partialot.solve(partialot.PointCloud(x, y, storage="blocks"), **arguments)  # pyright: ignore[reportArgumentType]
    product = solution.apply(vectors.expand(2, 6, 2))
    (slope,) = torch.autograd.grad(product.sum(), vectors, retain_graph=True)
    assert_close(slope, solution.marginal_b.sum(0).unsqueeze(-1).expand(6, 2))
    with pytest.raises(partialot.NotDifferentiableError, match=r"Found one asked of the plan"):
        product.sum().backward()


def kept(product: str, cost: str, block: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many numbers the graph of one product keeps, its features and potentials apart."""
    monkeypatch.setattr(blocks_module, "_BLOCK", block)
    x, y = (torch.rand(count, 2, requires_grad=True) for count in (40, 30))
    solution = partialot.solve(partialot.PointCloud(x, y, ALL_COSTS[cost], storage="blocks"), mass=0.5, reg=0.5)
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, note):
        PRODUCTS[product](solution, x, y)
    return sum(storages.values())


@EVERY_PRODUCT
@pytest.mark.parametrize("cost", ["sqeuclidean", "own"])
def test_what_is_kept_for_the_backward_pass_does_not_grow_with_the_blocks(
    monkeypatch: pytest.MonkeyPatch, product: str, cost: str
) -> None:
    """Forty blocks of one row keep what one block of all keeps, and that is less than the plan."""
    many, one = (kept(product, cost, block, monkeypatch) for block in (30, 1200))
    assert many == one
    assert many < 40 * 30 * 4


def test_blocks_of_half_precision_features_add_up_without_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the features' own type, what a block adds is hardly a number: 1e-5, and less than a digit of the sum."""
    monkeypatch.setattr(blocks_module, "_BLOCK", 1)
    generator = torch.Generator().manual_seed(5)
    x, y = (torch.rand(150, 2, generator=generator).half() for _ in range(2))
    found = []
    for dtype in (torch.float16, torch.float64):
        leaves = [side.to(dtype).detach().requires_grad_() for side in (x.clone(), y.clone())]
        cloud = partialot.PointCloud(leaves[0], leaves[1], "euclidean", storage="blocks")
        value = partialot.solve(cloud, reg=2.0, solver=partialot.Sinkhorn(tol=1e-5)).value
        found.append(torch.autograd.grad(value, leaves))
    for half, double in zip(*found, strict=True):
        assert half.dtype == torch.float16
        assert (half.double() - double).abs().max() < 1e-3 * double.abs().max()
