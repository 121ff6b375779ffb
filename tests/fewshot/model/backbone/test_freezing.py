from collections.abc import Callable

import pytest
import torch

from fewshot.episode import Episode
from fewshot.model.cmnet import CMNet
from fewshot.model.config import CMNetConfig


@pytest.mark.parametrize("backbone", ["resnet50", "vgg16_bn", "mobilenetv2"])
def test_every_backbone_stays_bit_equal_and_in_eval_mode_through_training(
    backbone: str, make_config: Callable[..., CMNetConfig], make_episode: Callable[..., Episode]
) -> None:
    model = CMNet(make_config(backbone=backbone)).train()
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(2):
        model(make_episode(batch=2)).logits.square().mean().backward()
        optimizer.step()
    assert not any(module.training for module in model.backbone.modules())
    assert all(torch.equal(before[name], value) for name, value in model.backbone.state_dict().items())
