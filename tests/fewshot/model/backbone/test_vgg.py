from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from fewshot.model.backbone import Backbone, BackboneName, build_backbone

# Where torchvision's lists of layers have their convolutions, from one pooling to the next.
PLACES: dict[BackboneName, tuple[tuple[int, ...], ...]] = {
    "vgg16": ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)),
    "vgg16_bn": ((0, 3), (7, 10), (14, 17, 20), (24, 27, 30), (34, 37, 40)),
}
ENTRIES = ("running_mean", "running_var", "weight", "bias")
CHANNELS = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)


@pytest.mark.parametrize(("name", "parameters"), [("vgg16", 14714688), ("vgg16_bn", 14723136)])
def test_names_and_shapes_are_torchvisions(name: BackboneName, parameters: int) -> None:
    backbone = build_backbone(name)
    expected: dict[str, tuple[int, ...]] = {}
    places = [place for group in PLACES[name] for place in group]
    for place, inputs, outputs in zip(places, CHANNELS[:-1], CHANNELS[1:], strict=True):
        expected[f"features.{place}.weight"] = (outputs, inputs, 3, 3)
        expected[f"features.{place}.bias"] = (outputs,)
        if name == "vgg16_bn":
            for entry in ENTRIES:
                expected[f"features.{place + 1}.{entry}"] = (outputs,)
            expected[f"features.{place + 1}.num_batches_tracked"] = ()
    assert {key: tuple(value.shape) for key, value in backbone.state_dict().items()} == expected
    assert sum(parameter.numel() for parameter in backbone.parameters()) == parameters


def run_strided(name: BackboneName, weights: Mapping[str, Tensor], images: Tensor) -> list[Tensor]:
    """Run the published network, which pools four times; give what each group of convolutions (and pooling) says."""
    x, outputs = images, []
    for group, places in enumerate(PLACES[name]):
        for place in places:
            x = functional.conv2d(x, weights[f"features.{place}.weight"], weights[f"features.{place}.bias"], padding=1)
            if name == "vgg16_bn":
                mean, variance, weight, bias = (weights[f"features.{place + 1}.{entry}"] for entry in ENTRIES)
                x = functional.batch_norm(x, mean, variance, weight, bias)
            x = torch.relu(x)
        if group < 4:
            x = functional.max_pool2d(x, 2, ceil_mode=True)
        outputs.append(x)
    return outputs


@pytest.mark.parametrize("size", [(48, 64), (41, 31)])
@pytest.mark.parametrize("name", ["vgg16", "vgg16_bn"])
def test_every_second_node_says_what_the_strided_network_says(
    name: BackboneName, size: tuple[int, int], make_backbone: Callable[..., Backbone]
) -> None:
    backbone = make_backbone(name)
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    features = backbone(images)
    *_, layer2, layer3, layer4 = run_strided(name, backbone.state_dict(), images)
    assert_close(features.mid[:, 512:], layer2)
    assert_close(features.mid[:, :512, ::2, ::2], layer3)
    assert_close(features.high[..., ::2, ::2], layer4)
    assert layer4.std() > 1e-3
