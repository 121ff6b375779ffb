"""Prices between features against their definitions, pair by pair."""

import pytest
import torch
from torch.testing import assert_close

from partialot.geometry.costs import COSTS

DEFINITIONS = {
    "cosine": lambda x, y: 1 - torch.nn.functional.cosine_similarity(x, y, dim=-1),
    "sqeuclidean": lambda x, y: (x - y).square().sum(-1),
    "euclidean": lambda x, y: (x - y).norm(dim=-1),
    "dot": lambda x, y: -(x * y).sum(-1),
}


@pytest.mark.parametrize("name", COSTS)
def test_every_pair_has_the_price_of_the_definition(name: str) -> None:
    x, y = torch.randn(2, 4, 3, dtype=torch.float64), torch.randn(2, 5, 3, dtype=torch.float64)
    assert_close(COSTS[name](x, y), DEFINITIONS[name](x.unsqueeze(-2), y.unsqueeze(-3)))


@pytest.mark.parametrize("name", COSTS)
def test_derivatives_are_finite_at_zero_and_where_points_coincide(name: str) -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, 2.0]], requires_grad=True)
    COSTS[name](x, x.detach().clone()).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_squared_distances_keep_their_digits_far_from_the_origin() -> None:
    x, y = torch.rand(4, 3), torch.rand(5, 3)
    offset = torch.tensor(4096.0)
    expected = COSTS["sqeuclidean"]((x + offset - offset).double(), (y + offset - offset).double())
    assert_close(COSTS["sqeuclidean"](x + offset, y + offset).double(), expected, rtol=1e-4, atol=1e-5)


def test_squared_distances_are_never_negative() -> None:
    x = torch.randn(50, 64)
    assert (COSTS["sqeuclidean"](x, x) >= 0).all()
