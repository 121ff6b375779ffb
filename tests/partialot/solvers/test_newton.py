"""Newton steps: the same plan as sweeps alone, in far fewer reads of the matrix where plans are near matchings."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import partialot
from partialot.kernels import cpu, native

ALONE = partialot.Sinkhorn(max_iter=3000, tol=1e-7, newton=False)
STEPPING = partialot.Sinkhorn(max_iter=3000, tol=1e-7)


@pytest.fixture(params=["native", "plain"], autouse=True)
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "plain":
        monkeypatch.setattr(cpu, "available", lambda matrix: False)
    elif native.library() is None:
        pytest.skip("no C++ compiler with OpenMP was found, so there are no native kernels to test")


def noise(n: int = 40, m: int = 40, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(n, m, dtype=dtype)


@pytest.mark.parametrize("mass", [None, 0.9, 0.5])
def test_steps_find_the_plan_that_sweeps_find(mass: float | None) -> None:
    cost, reg = noise(), 0.01
    alone, stepping = (partialot.solve(cost, mass=mass, reg=reg, solver=solver) for solver in (ALONE, STEPPING))
    assert stepping.converged
    assert_close(stepping.plan, alone.plan, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_balanced_plans_near_a_matching_are_reached_where_sweeps_alone_crawl(dtype: torch.dtype) -> None:
    cost = noise(60, 60, dtype)
    tol = {torch.float32: 1e-5, torch.float64: 1e-9}[dtype]
    solution = partialot.solve(cost, reg=1e-3, solver=partialot.Sinkhorn(max_iter=3000, tol=tol))
    assert solution.converged
    assert solution.marginal_error <= 2 * tol
    with pytest.warns(partialot.ConvergenceWarning):
        partialot.solve(cost, reg=1e-3, solver=partialot.Sinkhorn(max_iter=int(solution.n_iter), tol=tol, newton=False))


def test_products_count_as_sweeps_and_respect_their_limit() -> None:
    cost = noise(60, 60)
    for limit in (50, 120, 200):
        solver = partialot.Sinkhorn(max_iter=limit, tol=1e-13)
        with pytest.warns(partialot.ConvergenceWarning):
            solution = partialot.solve(cost, reg=1e-4, solver=solver)
        assert limit <= int(solution.n_iter) <= limit + 70


def test_a_problem_in_a_batch_takes_the_steps_it_takes_alone() -> None:
    cost, reg = torch.stack([noise(), noise(), 10 * noise()]), torch.tensor([0.004, 0.5, 0.02], dtype=torch.float64)
    batch = partialot.solve(cost, reg=reg, solver=STEPPING)
    for index in range(3):
        single = partialot.solve(cost[index], reg=reg[index], solver=STEPPING)
        assert single.n_iter == batch.n_iter[index]
        assert torch.equal(single.plan, batch.plan[index])


def test_steps_work_around_forbidden_pairs_empty_nodes_and_unequal_totals() -> None:
    cost = noise(30, 50)
    cost[torch.rand(30, 50) < 0.2] = torch.inf
    a, b = torch.rand(30, dtype=torch.float64), 3 * torch.rand(50, dtype=torch.float64)
    a[3] = b[7] = 0.0
    mass = 0.9 * a.sum().item()
    alone, stepping = (partialot.solve(cost, a, b, mass=mass, reg=0.005, solver=solver) for solver in (ALONE, STEPPING))
    assert stepping.converged
    assert stepping.n_iter <= alone.n_iter
    assert_close(stepping.plan, alone.plan, rtol=0.0, atol=1e-5)
