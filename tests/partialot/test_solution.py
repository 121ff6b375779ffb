"""What a solution offers beside its plan."""

import gc
import weakref
from typing import Literal

import pytest
import torch
from torch.testing import assert_close

import partialot


@pytest.fixture
def solution() -> partialot.Solution:
    return partialot.solve(torch.rand(2, 4, 5, dtype=torch.float64), mass=0.6, reg=0.1)


def test_one_number_a_node_or_several_are_multiplied(solution: partialot.Solution) -> None:
    x, y = torch.rand(2, 5, 3, dtype=torch.float64), torch.rand(2, 4, 3, dtype=torch.float64)
    assert_close(solution.apply(x), solution.plan @ x)
    assert_close(solution.apply(x[..., 0]), (solution.plan @ x)[..., 0])
    assert_close(solution.apply(x[:1]), solution.plan @ x[:1])
    assert_close(solution.apply_transpose(y), solution.plan.mT @ y)
    assert_close(solution.apply_transpose(y[..., 0]), (solution.plan.mT @ y)[..., 0])


@pytest.mark.parametrize("shape", [(5,), (2, 4), (2, 4, 3)])
def test_numbers_for_the_wrong_side_are_refused(solution: partialot.Solution, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"shape \(\*batch, 5\).*Found .* beside a plan of \(2, 4, 5\)\. Use `apply`"):
        solution.apply(torch.rand(shape, dtype=torch.float64))


def test_what_is_sent_and_what_is_kept_add_up_to_the_weights(solution: partialot.Solution) -> None:
    assert_close(solution.marginal_a + solution.slack_a, solution.problem.a)
    assert_close(solution.marginal_b + solution.slack_b, solution.problem.b)
    assert_close(solution.mass, torch.full((2,), 0.6, dtype=torch.float64))


def test_the_linear_value_is_differentiated_through_the_plan(solution: partialot.Solution) -> None:
    cost = torch.rand(3, 4, dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(partialot.solve(cost, mass=0.5, reg=0.1).value_linear, cost)[0]
    ahead, behind = (
        partialot.solve(cost.detach() + shift, mass=0.5, reg=0.1, solver=partialot.Sinkhorn(tol=1e-13)).value_linear
        for shift in (torch.eye(3, 4, dtype=torch.float64) * 1e-5, -torch.eye(3, 4, dtype=torch.float64) * 1e-5)
    )
    assert_close(slope.diagonal().sum(), (ahead - behind) / 2e-5, rtol=1e-5, atol=0.0)


def test_the_potentials_rebuild_the_plan(solution: partialot.Solution) -> None:
    (f, g), problem = solution.potentials, solution.problem
    total = problem.a.sum(-1) + problem.b.sum(-1) - 0.6
    exponent = (f.unsqueeze(-1) + g.unsqueeze(-2) - problem.cost()) / 0.1
    plan = problem.a.unsqueeze(-1) * problem.b.unsqueeze(-2) / total[:, None, None] * exponent.exp()
    assert_close(plan, solution.plan)


def test_centred_potentials_of_a_balanced_problem_share_the_value() -> None:
    solution = partialot.solve(torch.rand(4, 5, dtype=torch.float64), reg=0.1)
    f, g = solution.potentials
    halves = (solution.problem.a * f).sum(), (solution.problem.b * g).sum()
    assert_close(halves[0], halves[1])
    assert_close(halves[0] + halves[1], solution.value)


@pytest.mark.parametrize("storage", ["matrix", "blocks"])
def test_a_detached_solution_is_the_same_without_a_graph(storage: Literal["matrix", "blocks"]) -> None:
    x, y = (torch.rand(n, 3, dtype=torch.float64, requires_grad=True) for n in (6, 5))
    a = torch.full((6,), 0.2, dtype=torch.float64, requires_grad=True)
    solution = partialot.solve(partialot.PointCloud(x, y, storage=storage), a, mass=0.6, reg=0.1)
    detached = solution.detach()
    outputs = ("value", "value_linear", "mass_price", "plan", "marginal_a", "marginal_b", "marginal_error", "mass")
    for name in outputs:
        found = getattr(detached, name)
        assert not found.requires_grad
        assert_close(found, getattr(solution, name), rtol=1e-12, atol=1e-15)
    assert not any(part.requires_grad for part in (*detached.potentials, *detached.duals, detached.problem.a))
    assert not any(part.requires_grad for part in detached.problem.geometry.tensors)
    assert solution.value.requires_grad
    assert detached.value.data_ptr() == solution.value.data_ptr()
    assert_close(detached.certificate().gap, solution.certificate().gap)


@pytest.mark.parametrize("storage", ["matrix", "blocks"])
def test_a_detached_solution_lets_the_graph_go(storage: Literal["matrix", "blocks"]) -> None:
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)
    features = torch.rand(6, 3, dtype=torch.float64) * weight
    graph = weakref.ref(features)
    y = torch.rand(5, 3, dtype=torch.float64)
    kept = partialot.solve(partialot.PointCloud(features, y, storage=storage), mass=0.6, reg=0.1).detach()
    del features
    gc.collect()
    assert graph() is None
    again = partialot.solve(kept.problem.geometry, mass=0.6, reg=0.1, init=kept)
    assert_close(again.value, kept.value)
