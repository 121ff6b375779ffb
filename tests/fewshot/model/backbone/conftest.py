from collections.abc import Callable

import pytest
import torch
from torch import nn

from fewshot.model.backbone import Backbone, BackboneName, StemName, build_backbone


@pytest.fixture
def make_backbone() -> Callable[..., Backbone]:
    """A frozen backbone in double precision whose normalisations do something."""

    def make(name: BackboneName, *, stem: StemName = "plain") -> Backbone:
        torch.manual_seed(0)
        backbone = build_backbone(name, stem=stem).requires_grad_(False).double().eval()
        for module in backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.weight, module.running_var):
                    assert tensor is not None
                    tensor.uniform_(0.5, 1.5)
                for tensor in (module.bias, module.running_mean):
                    assert tensor is not None
                    tensor.normal_(std=0.2)
        return backbone

    return make
