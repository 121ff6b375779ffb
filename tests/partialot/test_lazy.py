"""Costs that are not stored: the answer and the derivatives of the stored ones, without anything of their size."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

import partialot
from partialot import blocks as blocks_module
from partialot.geometry.costs import COSTS
from tests.partialot.properties import EXACT, SINKHORN

pytestmark = pytest.mark.usefixtures("small_blocks")


def forbidding(x: Tensor, y: Tensor) -> Tensor:
    """A cost of the user's own: distances along the axes, long ways closed."""
    distance = (x.unsqueeze(-2) - y.unsqueeze(-3)).abs().sum(-1)
    return distance.masked_fill(distance > 5, torch.inf)


ALL_COSTS = {**{name: name for name in COSTS}, "own": forbidding}
TIGHT = 1e-9
"""Two solves to 1e-12 in other orders of summation, and derivatives of either."""


def features() -> tuple[Tensor, Tensor]:
    """Points of two problems that share their targets."""
    generator = torch.Generator().manual_seed(3)
    x, y = (torch.randn(*shape, 3, generator=generator, dtype=torch.float64) for shape in ((2, 7), (1, 6)))
    return x.requires_grad_(), y.requires_grad_()


def weights(count: int, *, empty: int | None = None) -> Tensor:
    """Uneven weights of total 1, of which one may be 0."""
    numbers = torch.arange(1.0, count + 1, dtype=torch.float64).sqrt()
    if empty is not None:
        numbers[empty] = 0.0
    return (numbers / numbers.sum()).requires_grad_()


def solve(storage: Any, cost: str = "sqeuclidean", **arguments: Any) -> partialot.Solution:
    """Solve between the features, to the last digits."""
    options = {"mass": 0.6, "reg": 0.4, "solver": SINKHORN} | arguments
    x, y = options.pop("features", None) or features()
    return partialot.solve(partialot.PointCloud(x, y, ALL_COSTS[cost], storage=storage), **options)


OUTPUTS: dict[str, Callable[[partialot.Solution], Tensor]] = {
    "value": lambda solution: solution.value,
    "value_linear": lambda solution: solution.value_linear,
    "plan": lambda solution: solution.plan,
    "f": lambda solution: solution.potentials[0],
    "g": lambda solution: solution.potentials[1],
    "mass_price": lambda solution: solution.mass_price,
    "marginals": lambda solution: torch.cat((solution.marginal_a, solution.marginal_b), dim=-1),
    "apply": lambda solution: solution.apply(torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(1, 6, 2)),
    "apply_transpose": lambda solution: solution.apply_transpose(torch.linspace(-1, 1, 14).double().reshape(2, 7)),
}


@pytest.mark.parametrize("mass", [0.6, None], ids=["partial", "balanced"])
@pytest.mark.parametrize("cost", ALL_COSTS)
def test_blocks_and_matrix_give_one_answer(cost: str, mass: float | None) -> None:
    lazy, stored = (solve(storage, cost, mass=mass) for storage in ("blocks", "matrix"))
    assert lazy.known.plan is None
    assert stored.known.plan is not None
    assert lazy.converged.all()
    for read in OUTPUTS.values():
        assert_close(read(lazy), read(stored), rtol=TIGHT, atol=TIGHT)
    assert_close(lazy.mass, stored.mass)
    assert (lazy.marginal_error < 1e-11).all()


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(
    ("cost", "mass"), [("sqeuclidean", 0.6), ("sqeuclidean", None), ("euclidean", 0.6), ("cosine", None), ("own", 0.6)]
)
def test_blocks_and_matrix_give_one_derivative(cost: str, output: str, mass: float | None) -> None:
    found = []
    for storage in ("blocks", "matrix"):
        inputs = [*features(), weights(7, empty=2 if mass else None), weights(6, empty=4 if mass else None)]
        reg = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
        solution = solve(storage, cost, features=tuple(inputs[:2]), a=inputs[2], b=inputs[3], mass=mass, reg=reg)
        read = OUTPUTS[output](solution)
        factors = torch.linspace(-1, 2, read.numel(), dtype=torch.float64).reshape(read.shape)
        derivatives = torch.autograd.grad((read * factors).sum(), [*inputs, reg])
        # Balanced, derivatives by weights have a free constant.
        found.append([x - x.mean() if mass is None and x.ndim == 1 else x for x in derivatives])
    for lazy, stored in zip(*found, strict=True):
        assert_close(lazy, stored, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(("cost", "output"), [("sqeuclidean", "plan"), ("euclidean", "apply"), ("own", "value")])
def test_derivatives_by_features_are_those_of_finite_differences(cost: str, output: str) -> None:
    def function(x: Tensor, y: Tensor) -> Tensor:
        solver = partialot.Sinkhorn(max_iter=20_000, tol=1e-14)
        return OUTPUTS[output](solve("blocks", cost, features=(x, y), solver=solver))

    assert torch.autograd.gradcheck(function, features(), eps=1e-5, atol=1e-5, rtol=1e-5, fast_mode=True)


def test_the_envelope_differentiates_the_value_and_refuses_the_rest() -> None:
    inputs = features()
    expected = torch.autograd.grad(solve("matrix", features=inputs).value.sum(), inputs)
    solution = solve("blocks", features=inputs, gradient=partialot.Envelope())
    for found, wanted in zip(torch.autograd.grad(solution.value.sum(), inputs), expected, strict=True):
        assert_close(found, wanted, rtol=1e-8, atol=1e-9)
    for output in ("plan", "apply", "value_linear", "f"):
        solution = solve("blocks", features=inputs, gradient=partialot.Envelope())
        with pytest.raises(partialot.NotDifferentiableError, match=r"Found one asked of the plan.* Pass `reg`"):
            OUTPUTS[output](solution).sum().backward()


def test_second_derivatives_of_a_lazy_value_are_refused_not_wrong() -> None:
    inputs = features()
    first = torch.autograd.grad(solve("blocks", features=inputs).value.sum(), inputs, create_graph=True)
    match = (
        r"first derivatives where no matrix .*\. Found a second one asked for\. Pass `PointCloud\(…, storage='matrix'"
    )
    with pytest.raises(partialot.NotDifferentiableError, match=match):
        first[0].sum().backward()


def test_unrolled_sweeps_differentiate_lazy_prices_like_stored_ones() -> None:
    found = []
    for storage in ("blocks", "matrix"):
        inputs = features()
        solution = solve(storage, features=inputs, gradient=partialot.Unrolled(), reg=2.0)
        found.append(torch.autograd.grad(solution.plan.square().sum(), inputs))
    for lazy, stored in zip(*found, strict=True):
        assert_close(lazy, stored, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("cost", ["sqeuclidean", "own"])
def test_the_exact_solver_takes_lazy_prices(cost: str) -> None:
    found = []
    for storage in ("blocks", "matrix"):
        inputs = features()
        solution = solve(storage, cost, features=inputs, reg=None, solver=EXACT)
        gradients = torch.autograd.grad(solution.value.sum(), inputs)
        found.append((solution.plan, solution.value, solution.value_linear, *gradients))
    for lazy, stored in zip(*found, strict=True):
        assert_close(lazy, stored)


def test_a_certificate_brackets_the_lazy_answer() -> None:
    certificate, exact = solve("blocks", reg=0.01).certificate(), solve("matrix", reg=None, solver=EXACT)
    assert (certificate.primal >= exact.value - 1e-9).all()
    assert (certificate.dual <= exact.value + 1e-9).all()


def test_a_lazy_solution_is_a_start_for_another() -> None:
    cold = solve("blocks")
    warm = solve("blocks", init=cold)
    assert (warm.n_iter <= 1).all()
    assert_close(warm.plan, cold.plan, rtol=TIGHT, atol=TIGHT)


@pytest.mark.parametrize("output", ["value", "apply", "f"])
def test_features_changed_before_the_backward_pass_raise(output: str) -> None:
    x, y = features()
    solution = solve("blocks", "euclidean", features=(x, y))
    read = OUTPUTS[output](solution).sum()
    with torch.no_grad():
        x.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        read.backward()


def test_prices_that_are_inner_products_are_those_of_the_features_that_were_solved_for() -> None:
    x, y = features()
    expected = torch.autograd.grad(solve("blocks", features=(x, y)).apply(y).sum(), x)
    solution, vectors = solve("blocks", features=(x, y)), y.detach().clone()
    with torch.no_grad():
        x.add_(1.0)
    assert_close(torch.autograd.grad(solution.apply(vectors).sum(), x), expected)


class LargestTensor(TorchDispatchMode):
    """Records how many numbers the largest tensor held that any operation made."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, Tensor):
                self.numel = max(self.numel, tensor.untyped_storage().nbytes() // tensor.element_size())
        return made


@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean", "own"])
def test_nothing_of_the_size_of_the_plan_is_made(monkeypatch: pytest.MonkeyPatch, cost: str) -> None:
    """Forward, products, errors and every derivative, with 400 × 300 prices in blocks of 3,000."""
    monkeypatch.setattr(blocks_module, "_BLOCK", 3000)
    x, y = torch.rand(400, 2, requires_grad=True), torch.rand(300, 2, requires_grad=True)
    with LargestTensor() as largest:
        cloud = partialot.PointCloud(x, y, ALL_COSTS[cost], storage="blocks")
        solution = partialot.solve(cloud, mass=0.5, reg=0.5)
        objective = solution.value + solution.value_linear + solution.apply(y).square().sum()
        objective = objective + solution.apply_transpose(x).square().sum() + solution.potentials[0].square().sum()
        (objective + solution.marginal_error).backward()
    assert x.grad is not None
    assert largest.numel <= 2 * 3000


def test_a_batch_of_no_clouds_has_no_plans() -> None:
    x, y = torch.rand(0, 4, 2), torch.rand(0, 3, 2)
    solution = partialot.solve(partialot.PointCloud(x, y, storage="blocks"), mass=0.3, reg=0.1)
    assert solution.plan.shape == (0, 4, 3)
    assert solution.apply(torch.rand(0, 3)).shape == (0, 4)
    assert solution.value.shape == (0,)
