import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from fewshot.model.backbone import Backbone, build_backbone, load_backbone_weights

WEIGHTS = "weights_imagenet/resnet50v2_gluon_stages1-3_fp16.pt"

needs_weights = pytest.mark.skipif(
    "PARTIALOT_DATA" not in os.environ, reason="PARTIALOT_DATA names no folder with weights of ResNet-50 v2"
)


def run_strided(backbone: Backbone, images: Tensor) -> Tensor:
    """The published network up to stage 3, at stride 16: its definition, written with functions alone."""
    weights = backbone.state_dict()

    def normalise(x: Tensor, name: str) -> Tensor:
        entries = (weights[f"{name}.{entry}"] for entry in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, *entries)

    x = functional.conv2d(normalise(images, "bn0"), weights["conv0.weight"], stride=2, padding=3)
    x = functional.max_pool2d(normalise(x, "bn1").relu(), 3, 2, 1)
    for stage, blocks in ((1, 3), (2, 4), (3, 6)):
        for block in range(blocks):
            name, stride = f"stage{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            active = normalise(x, f"{name}.bn1").relu()
            h = functional.conv2d(active, weights[f"{name}.conv1.weight"])
            h = normalise(h, f"{name}.bn2").relu()
            h = functional.conv2d(h, weights[f"{name}.conv2.weight"], stride=stride, padding=1)
            h = functional.conv2d(normalise(h, f"{name}.bn3").relu(), weights[f"{name}.conv3.weight"])
            projection = weights.get(f"{name}.downsample.weight")
            x = h + (x if projection is None else functional.conv2d(active, projection, stride=stride))
    return normalise(x, "norm3").relu()


def test_every_second_node_is_what_the_published_network_gives(make_backbone: Callable[..., Backbone]) -> None:
    backbone = make_backbone("resnet50v2")
    images = torch.randn(2, 3, 64, 80, dtype=torch.float64)
    layer3 = backbone(images).mid[:, : backbone.layer3_channels]
    assert_close(layer3[..., ::2, ::2], run_strided(backbone, images))


def test_high_features_are_those_of_stage_3(make_backbone: Callable[..., Backbone]) -> None:
    features = make_backbone("resnet50v2")(torch.randn(1, 3, 32, 32, dtype=torch.float64))
    assert torch.equal(features.high, features.mid[:, :1024])


def test_all_features_are_active() -> None:
    features = build_backbone("resnet50v2").eval()(torch.randn(1, 3, 40, 40))
    assert features.mid.min() == 0.0
    assert (features.mid > 0).float().mean() > 0.2


def test_a_deep_stem_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Found 'deep' for 'resnet50v2'\. Leave `stem` out"):
        build_backbone("resnet50v2", stem="deep")


@needs_weights
def test_the_published_weights_load_by_name() -> None:
    backbone = build_backbone("resnet50v2")
    load_backbone_weights(backbone, Path(os.environ["PARTIALOT_DATA"]) / WEIGHTS)
    assert_close(backbone.state_dict()["bn0.running_mean"], torch.zeros(3), atol=10.0, rtol=0.0)
    assert sum(one.numel() for one in backbone.parameters()) == pytest.approx(8.57e6, rel=0.01)
