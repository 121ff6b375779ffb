"""`TransportMatching`: features and weights in, a `Solution` out."""

import copy
import pickle

import pytest
import torch
from torch.testing import assert_close

import partialot
from partialot.geometry import storage as planner
from partialot.nn import TransportMatching


def features(*shape: int) -> torch.Tensor:
    """Reproducible features."""
    return torch.randn(*shape, dtype=torch.float64)


def cosine_cost(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """1 − cos, written out."""
    return 1.0 - torch.nn.functional.cosine_similarity(x[..., :, None, :], y[..., None, :, :], dim=-1)


@pytest.mark.parametrize("mass", [None, 0.4])
def test_matching_is_solving_with_the_cosine_cost(mass: float | None) -> None:
    x, y = features(2, 5, 8), features(2, 6, 8)
    solver = partialot.Sinkhorn(max_iter=5_000, tol=1e-10)
    found = TransportMatching(cost="cosine", reg=0.2, solver=solver)(x, y, mass=mass)
    expected = partialot.solve(cosine_cost(x, y), mass=mass, reg=0.2, solver=solver)
    assert_close(found.plan, expected.plan, rtol=0.0, atol=1e-9)
    assert found.plan.shape == (2, 5, 6)


def test_nodes_of_weight_zero_match_nothing() -> None:
    x, y = features(5, 8), features(6, 8)
    a, b = torch.ones(5, dtype=torch.float64), torch.ones(6, dtype=torch.float64)
    a[2], b[:2] = 0.0, 0.0
    plan = TransportMatching(reg=0.2)(x, y, a, b, mass=1.5).plan
    assert (plan[2] == 0).all()
    assert (plan[:, :2] == 0).all()
    assert_close(plan.sum().item(), 1.5, rtol=1e-3, atol=0.0)


def test_gradients_reach_features_that_may_be_zero() -> None:
    x, y = features(5, 8), features(6, 8)
    x[1] = 0.0
    x.requires_grad_()
    y.requires_grad_()
    solver = partialot.Sinkhorn(max_iter=5_000, tol=1e-10)
    TransportMatching(reg=0.2, solver=solver)(x, y, mass=0.4).plan.square().sum().backward()
    for tensor in (x, y):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
        assert tensor.grad.abs().max() > 0


def test_features_of_different_widths_are_refused() -> None:
    with pytest.raises((ValueError, TypeError), match=r"(?s)8.*7|x.*y"):
        TransportMatching(reg=0.2)(features(5, 8), features(6, 7))


def test_an_unknown_cost_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"(?s)`cost`.*chebyshov.*cosine"):
        TransportMatching(cost="chebyshov", reg=0.2)  # pyright: ignore[reportArgumentType]


def test_a_module_survives_copies_and_its_state() -> None:
    module = TransportMatching(reg=0.2)
    x, y = features(5, 8), features(6, 8)
    expected = module(x, y, mass=0.4).plan
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        twin.load_state_dict(module.state_dict())
        assert torch.equal(twin(x, y, mass=0.4).plan, expected)


@pytest.mark.parametrize("cost", ["cosine", "euclidean"])
def test_large_inputs_are_matched_without_a_matrix_to_the_same_answer(
    monkeypatch: pytest.MonkeyPatch, cost: str
) -> None:
    found = []
    for memory in (1 << 40, 16):
        monkeypatch.setattr(planner, "_memory", lambda device, memory=memory: memory)
        x, y = (torch.linspace(-1, 2, 16 * k, dtype=torch.float64).sin().reshape(2, k, 8) for k in (5, 6))
        x, y = x.requires_grad_(), y.requires_grad_()
        solver = partialot.Sinkhorn(max_iter=5_000, tol=1e-11)
        solution = TransportMatching(cost=cost, reg=0.5, solver=solver)(x, y, mass=0.4)
        assert solution.problem.geometry.is_lazy == (memory == 16)
        read = solution.value.sum() + solution.apply(y).square().sum()
        found.append((solution.value, solution.plan, *torch.autograd.grad(read, (x, y))))
    for stored, lazy in zip(*found, strict=True):
        assert_close(lazy, stored, rtol=1e-7, atol=1e-9)
