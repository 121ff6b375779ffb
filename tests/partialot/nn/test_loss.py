"""The price of transport as a loss."""

import pickle

import pytest
import torch
from torch.testing import assert_close

import partialot
from partialot.nn import TransportLoss

X, Y = torch.rand(2, 4, 3), torch.rand(2, 5, 3)


def test_the_loss_is_the_value_of_the_solve() -> None:
    values = TransportLoss(cost="sqeuclidean", reg=0.05, reduction="none")(X, Y)
    expected = partialot.solve((X.unsqueeze(-2) - Y.unsqueeze(-3)).square().sum(-1), reg=0.05).value
    assert_close(values, expected)
    assert_close(TransportLoss()(X, Y), expected.mean())
    assert_close(TransportLoss(reduction="sum")(X, Y), expected.sum())


def test_the_mass_of_a_call_overrides_that_of_the_layer() -> None:
    layer = TransportLoss(mass=0.9)
    assert_close(layer(X, Y, mass=0.2), TransportLoss(mass=0.2)(X, Y))
    assert layer(X, Y) != layer(X, Y, mass=0.2)


def test_descending_the_loss_moves_points_onto_their_targets() -> None:
    points = torch.tensor([[0.0, 0.0], [1.0, 1.0]], requires_grad=True)
    target = torch.tensor([[0.0, 1.0], [2.0, 1.0]])
    # One price so far above the others that its pair is as good as forbidden: sweeps then converge like 1/sweeps.
    loss = TransportLoss(reg=0.01, solver=partialot.Sinkhorn(tol=1e-3))
    optimizer = torch.optim.SGD([points], lr=0.5)
    for _ in range(40):
        optimizer.zero_grad()
        loss(points, target).backward()
        optimizer.step()
    assert_close(points.detach(), target, atol=1e-2, rtol=0.0)


def test_without_reg_the_loss_is_exact_and_differentiable() -> None:
    x = X.clone().requires_grad_()
    TransportLoss(reg=None, mass=0.5)(x, Y).backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be 'mean', 'sum' or 'none'\. Found 'median'\. Pass"):
        TransportLoss(reduction="median")  # pyright: ignore[reportArgumentType]


def test_a_loss_survives_pickling() -> None:
    layer = TransportLoss(cost="euclidean", mass=0.5)
    assert_close(pickle.loads(pickle.dumps(layer))(X, Y), layer(X, Y))
