from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fewshot.episode import Episode
from fewshot.model.cmnet import CMNet
from fewshot.model.config import CMNetConfig

MakeConfig = Callable[..., CMNetConfig]
MakeEpisode = Callable[..., Episode]


def train_and_compare(model: CMNet, make_episode: MakeEpisode, *, steps: int) -> dict[str, bool]:
    """Train some steps; say of every tensor of the backbone whether it kept its bits."""
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        model(make_episode(batch=1, side=16, query=(16, 16))).logits.square().mean().backward()
        optimizer.step()
    return {name: torch.equal(before[name], value) for name, value in model.backbone.state_dict().items()}


def test_the_frozen_backbone_stays_bit_equal_through_training(
    everything: CMNetConfig, make_episode: MakeEpisode
) -> None:
    model = CMNet(everything).train()
    assert all(train_and_compare(model, make_episode, steps=30).values())
    assert not model.backbone.training


def test_with_drifting_statistics_the_weights_stay_and_the_running_averages_do_not(
    make_config: MakeConfig, make_episode: MakeEpisode
) -> None:
    model = CMNet(make_config(backbone_bn="train")).train()
    kept = train_and_compare(model, make_episode, steps=3)
    parameters = {name for name, _ in model.backbone.named_parameters()}
    assert all(kept[name] for name in parameters)
    assert not any(same for name, same in kept.items() if name not in parameters)


@pytest.mark.parametrize(("mode", "same"), [("eval", True), ("train", False)])
def test_batch_statistics_are_used_in_training_alone_and_only_if_asked_for(
    mode: str, same: bool, make_config: MakeConfig
) -> None:
    model, images = CMNet(make_config(backbone_bn=mode)), torch.randn(2, 3, 16, 16)

    def describe(training: bool) -> Tensor:
        return model.train(training).extract(images).mid

    before = describe(False)
    assert torch.equal(before, describe(False))
    assert torch.equal(before, describe(True)) == same
    assert model.backbone.training != same


def test_the_backbone_asks_for_no_gradient_whatever_its_statistics(
    make_config: MakeConfig, make_episode: MakeEpisode
) -> None:
    model = CMNet(make_config(backbone_bn="train", transport="partial")).train()
    model(make_episode()).logits.sum().backward()
    assert all(parameter.grad is None for parameter in model.backbone.parameters())
