"""Whole solves and their derivatives by the kernels in Triton, against those by plain PyTorch."""

import pytest
import torch
from torch.testing import assert_close

import partialot
from partialot.augmentation import BorderedProblem
from partialot.gradients import lazy
from partialot.inputs import Formulation
from partialot.kernels import dispatch, triton
from partialot.solvers.gibbs import GibbsKernel
from tests.partialot.kernels.on_device import DEVICE, MARKS

pytestmark = MARKS
inf = torch.inf
KINDS = {
    "balanced": {"mass": None},
    "partial": {"mass": 0.4},
    "capped": {"mass": 0.4, "formulation": "capped"},
    "priced": {"mass": partialot.Price(0.3)},
}
"""What is asked of a problem whose two sides weigh 1."""
AGREE = {torch.float32: 2e-5, torch.float64: 1e-8}
"""Both are solved until their violation is a twentieth of this."""


def problem(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two problems with forbidden pairs and nodes of weight 0."""
    generator = torch.Generator().manual_seed(3)
    cost = torch.rand(2, 9, 12, generator=generator, dtype=torch.float64)
    cost[0, 1, 3] = cost[1, 2, 2] = inf
    a, b = (torch.rand(2, size, generator=generator, dtype=torch.float64) + 0.2 for size in (9, 12))
    a[0, 4], b[1, 7] = 0.0, 0.0
    a, b = ((x / x.sum(-1, keepdim=True)).to(dtype) for x in (a, b))
    return cost.to(dtype), a, b


def solved(kind: str, dtype: torch.dtype, device: torch.device) -> tuple[partialot.Solution, list[torch.Tensor]]:
    inputs = [x.to(device).requires_grad_() for x in problem(dtype)]
    solver = partialot.Sinkhorn(tol=AGREE[dtype] / 20, annealing=False)
    solution = partialot.solve(*inputs, **KINDS[kind], reg=0.5, solver=solver)
    upstream = torch.linspace(0.0, 1.0, solution.plan.numel(), dtype=dtype, device=device).view_as(solution.plan)
    ((solution.plan * upstream).sum() + solution.value.sum()).backward()
    return solution, [x.grad for x in inputs if x.grad is not None]


@pytest.mark.parametrize(
    ("kind", "dtype"), [*((kind, torch.float32) for kind in KINDS), ("partial", torch.float64)], ids=str
)
def test_plan_value_and_derivatives_are_those_of_plain_pytorch(
    kind: str, dtype: torch.dtype, request: pytest.FixtureRequest
) -> None:
    expected, slopes = solved(kind, dtype, torch.device("cpu"))
    request.getfixturevalue("by_triton")
    found, gradients = solved(kind, dtype, DEVICE)
    assert bool(found.converged.all())
    for name in ("plan", "value", "marginal_a", "marginal_b", "mass_price"):
        one, other = getattr(found, name).cpu(), getattr(expected, name)
        assert_close(one, other, rtol=AGREE[dtype], atol=AGREE[dtype], msg=lambda text, n=name: f"{n}: {text}")
    for one, other in zip(gradients, slopes, strict=True):
        assert_close(one.cpu(), other, rtol=20 * AGREE[dtype], atol=20 * AGREE[dtype])


def test_sums_that_leave_the_range_are_taken_again(request: pytest.FixtureRequest) -> None:
    """One sweep from nowhere, at a thousandth of the costs' range: rows and columns underflow."""
    cost, a, b = problem(torch.float32)
    solver = partialot.Sinkhorn(max_iter=1, annealing=False)

    def swept(device: torch.device) -> torch.Tensor:
        inputs = (x.to(device) for x in (1 + cost, a, b))
        with pytest.warns(partialot.ConvergenceWarning):
            return partialot.solve(*inputs, mass=0.99, reg=1e-3, solver=solver).potentials[1].cpu()

    expected = swept(torch.device("cpu"))
    request.getfixturevalue("by_triton")
    taken, original = [], triton.column_log_sums
    request.getfixturevalue("monkeypatch").setattr(
        triton, "column_log_sums", lambda *given: (taken.append(given), original(*given))[1]
    )
    assert_close(swept(DEVICE), expected, rtol=1e-5, atol=1e-5)
    assert taken


def test_steps_are_taken_by_products_with_what_is_evaluated(request: pytest.FixtureRequest) -> None:
    """A problem that stalls, and is annealed: sweeps alone would need thousands."""
    request.getfixturevalue("by_triton")
    patch = request.getfixturevalue("monkeypatch")
    patch.setattr(dispatch, "sweeps_are_cheap", lambda _: False)
    multiplied, original = [], triton.evaluated_sandwich
    patch.setattr(triton, "evaluated_sandwich", lambda *given: (multiplied.append(given), original(*given))[1])
    generator = torch.Generator().manual_seed(3)
    cost = torch.rand(1, 6, 8, generator=generator).to(DEVICE)
    solver = partialot.Sinkhorn(tol=1e-4, max_iter=400)
    found = partialot.solve(cost, mass=0.97, reg=0.01, solver=solver)
    assert bool(found.converged.all())
    assert multiplied
    expected = partialot.solve(cost.double().cpu(), mass=0.97, reg=0.01, solver=partialot.Sinkhorn(tol=1e-8))
    assert_close(found.plan.cpu().double(), expected.plan, rtol=0.0, atol=1e-4)


def lazily(
    cost: str, d: int, batch: int, formulation: Formulation, device: torch.device
) -> tuple[partialot.Solution, list[torch.Tensor]]:
    """Problems between clouds, whose targets are shared by all."""
    generator = torch.Generator().manual_seed(5)
    x, y = torch.rand(batch, 20, d, generator=generator), torch.rand(1, 30, d, generator=generator) + 0.3
    a = torch.rand(batch, 20, generator=generator)
    a[0, 4] = 0.0
    reg = torch.tensor(0.8 if cost == "cosine" else 0.6 * d)
    given = x, y, a / a.sum(-1, keepdim=True), reg, torch.linspace(0.0, 1.0, 30).expand(1, -1)
    inputs = [tensor.to(device).clone().requires_grad_() for tensor in given]
    clouds = partialot.PointCloud(inputs[0], inputs[1], cost, storage="blocks")
    solver = partialot.Sinkhorn(tol=1e-6, annealing=False)
    solution = partialot.solve(clouds, inputs[2], mass=0.6, reg=inputs[3], formulation=formulation, solver=solver)
    products = solution.apply(inputs[4]) ** 2, solution.apply_transpose(inputs[0][..., :2]) ** 2
    (solution.value.sum() + 10 * sum(part.sum() for part in products)).backward()
    assert all(tensor.grad is not None for tensor in inputs)
    return solution, [tensor.grad for tensor in inputs if tensor.grad is not None]


@pytest.mark.parametrize("case", [("sqeuclidean", 2, 2, "dummy"), ("cosine", 12, 1, "capped")], ids=str)
def test_clouds_are_solved_and_differentiated_as_by_plain_pytorch_without_a_block_of_costs(
    case: tuple[str, int, int, Formulation], request: pytest.FixtureRequest
) -> None:
    expected, slopes = lazily(*case, torch.device("cpu"))
    request.getfixturevalue("by_triton")
    patch, stretched, original = request.getfixturevalue("monkeypatch"), [], triton.cloud_stretch
    for owner, name in ((GibbsKernel, "_pass_over_costs"), (BorderedProblem, "density"), (lazy, "_by_blocks")):
        patch.delattr(owner, name)
    patch.setattr(triton, "cloud_stretch", lambda *given: (stretched.append(given), original(*given))[1])
    found, gradients = lazily(*case, DEVICE)
    assert bool(found.converged.all())
    # Capped problems are swept one by one.
    assert case[-1] == "capped" or 0 < len(stretched) < int(found.n_iter.min())
    for name in ("value", "marginal_a", "marginal_b", "mass_price"):
        one, other = getattr(found, name).cpu(), getattr(expected, name)
        assert_close(one, other, rtol=2e-5, atol=2e-5, msg=lambda text, n=name: f"{n}: {text}")
    for one, other in zip(gradients, slopes, strict=True):
        assert_close(one.cpu(), other, rtol=4e-4, atol=4e-4)
