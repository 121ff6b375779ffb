from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from fewshot.episode import Episode
from fewshot.model.cmnet import CMNet
from fewshot.model.config import CMNetConfig
from fewshot.model.nodes import NodeFeatures
from fewshot.model.reduction import ReductionName, build_reduction

MakeConfig = Callable[..., CMNetConfig]


@pytest.mark.parametrize("name", ["1x1", "3x3d2"])
def test_reduction_keeps_the_grid_and_gives_no_negative_features(name: ReductionName) -> None:
    reduced = build_reduction(name, 12, 8)(torch.randn(2, 12, 5, 7))
    assert reduced.shape == (2, 8, 5, 7)
    assert reduced.min() == 0


@pytest.mark.parametrize(
    ("name", "size", "dilation", "biased"), [("1x1", (1, 1), (1, 1), False), ("3x3d2", (3, 3), (2, 2), True)]
)
def test_each_reduction_is_that_of_its_source(
    name: ReductionName, size: tuple[int, int], dilation: tuple[int, int], biased: bool
) -> None:
    convolution = build_reduction(name, 12, 8)[0]
    assert isinstance(convolution, nn.Conv2d)
    assert (convolution.kernel_size, convolution.dilation) == (size, dilation)
    assert (convolution.bias is not None) == biased


def test_a_shared_reduction_treats_query_and_support_alike_and_separate_ones_do_not(make_config: MakeConfig) -> None:
    mid = torch.randn(1, CMNet(make_config()).backbone.mid_channels, 4, 4)
    both = NodeFeatures(mid, mid.unsqueeze(1).expand(-1, 2, -1, -1, -1))
    shared = CMNet(make_config())._reduce(both)
    assert_close(shared.supports[:, 1], shared.query)
    separate = CMNet(make_config(shared_reduction=False))._reduce(both)
    assert not torch.allclose(separate.supports[:, 1], separate.query)


def test_separate_reductions_both_learn(make_config: MakeConfig, make_episode: Callable[..., Episode]) -> None:
    model = CMNet(make_config(shared_reduction=False)).train()
    model(make_episode()).logits.square().sum().backward()
    names = ("reduction.0.weight", "support_reduction.0.weight")
    for weight in (model.get_parameter(name) for name in names):
        assert weight.grad is not None
        assert weight.grad.any()
