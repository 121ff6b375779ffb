import torch
from torch.testing import assert_close

from fewshot.model.prototype import pool_prototype


def test_prototype_is_the_mean_of_the_objects_nodes_weighted_by_their_share() -> None:
    supports = torch.tensor([1.0, 5.0, 100.0]).view(1, 1, 1, 1, 3)
    share = torch.tensor([1.0, 0.5, 0.0]).view(1, 1, 1, 3)
    assert_close(pool_prototype(supports, share), torch.tensor([[(1.0 + 2.5) / 1.5]]), rtol=1e-3, atol=0.0)


def test_an_empty_mask_gives_the_zero_prototype() -> None:
    assert pool_prototype(torch.randn(2, 1, 4, 3, 3), torch.zeros(2, 1, 3, 3)).eq(0).all()


def test_supports_count_alike_whatever_the_size_of_their_object() -> None:
    supports = torch.stack([torch.full((1, 4, 4), 2.0), torch.full((1, 4, 4), 6.0)]).unsqueeze(0)
    share = torch.ones(1, 2, 4, 4)
    share[:, 1, 1:] = 0
    assert_close(pool_prototype(supports, share), torch.tensor([[4.0]]), rtol=1e-3, atol=0.0)
    assert_close(pool_prototype(supports.flip(1), share.flip(1)), torch.tensor([[4.0]]), rtol=1e-3, atol=0.0)
