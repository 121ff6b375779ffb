from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from fewshot.model.backbone import Backbone, StemName, build_backbone

# Of the published network's 17 blocks: channels of the result, and stride.
CHANNELS = (16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320)
ENTRIES = ("running_mean", "running_var", "weight", "bias")
STRIDES = (1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)


def list_unit(convolution: str, normalisation: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Name the entries of a convolution without bias and of the normalisation behind it."""
    entries = {f"{normalisation}.{entry}": shape[:1] for entry in ENTRIES}
    return {f"{convolution}.weight": shape, **entries, f"{normalisation}.num_batches_tracked": ()}


@pytest.mark.parametrize(("stem", "parameters"), [("plain", 2223872), ("deep", 2224960)])
def test_names_and_shapes_are_torchvisions_but_for_a_first_expansion(stem: StemName, parameters: int) -> None:
    backbone = build_backbone("mobilenetv2", stem=stem)
    expected = list_unit("features.0.0", "features.0.1", (32, 3, 3, 3))
    inputs = 32
    for block, outputs in enumerate(CHANNELS, start=1):
        hidden = inputs * (1 if block == 1 else 6)
        units = [] if block == 1 and stem == "plain" else [(hidden, inputs, 1, 1)]
        units.append((hidden, 1, 3, 3))
        for place, shape in enumerate(units):
            expected |= list_unit(f"features.{block}.conv.{place}.0", f"features.{block}.conv.{place}.1", shape)
        last = f"features.{block}.conv.{len(units)}", f"features.{block}.conv.{len(units) + 1}"
        expected |= list_unit(*last, (outputs, hidden, 1, 1))
        inputs = outputs
    expected |= list_unit("features.18.0", "features.18.1", (1280, 320, 1, 1))
    assert {key: tuple(value.shape) for key, value in backbone.state_dict().items()} == expected
    assert sum(parameter.numel() for parameter in backbone.parameters()) == parameters


def run_strided(weights: Mapping[str, Tensor], images: Tensor) -> list[Tensor]:
    """Run the published network, which ends at 1/32; give what comes out of each entry of its list of layers."""

    def convolve(x: Tensor, convolution: str, normalisation: str, stride: int = 1) -> Tensor:
        kernel = weights[f"{convolution}.weight"]
        groups = x.shape[1] // kernel.shape[1]
        x = functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2, groups=groups)
        mean, variance, weight, bias = (weights[f"{normalisation}.{entry}"] for entry in ENTRIES)
        return functional.batch_norm(x, mean, variance, weight, bias)

    outputs = [convolve(images, "features.0.0", "features.0.1", 2).clamp(0, 6)]
    for block, stride in enumerate(STRIDES, start=1):
        name, x = f"features.{block}.conv", outputs[-1]
        last = 2 if f"{name}.3.weight" in weights else 1
        if last == 2:
            x = convolve(x, f"{name}.0.0", f"{name}.0.1").clamp(0, 6)
        x = convolve(x, f"{name}.{last - 1}.0", f"{name}.{last - 1}.1", stride).clamp(0, 6)
        x = convolve(x, f"{name}.{last}", f"{name}.{last + 1}")
        outputs.append(x + outputs[-1] if x.shape == outputs[-1].shape else x)
    return [*outputs, convolve(outputs[-1], "features.18.0", "features.18.1").clamp(0, 6)]


@pytest.mark.parametrize("size", [(96, 64), (73, 51)])
@pytest.mark.parametrize("stem", ["plain", "deep"])
def test_every_second_and_fourth_node_says_what_the_strided_network_says(
    stem: StemName, size: tuple[int, int], make_backbone: Callable[..., Backbone]
) -> None:
    backbone = make_backbone("mobilenetv2", stem=stem)
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    features = backbone(images)
    outputs = run_strided(backbone.state_dict(), images)
    assert_close(features.mid[:, 96:], outputs[6])
    assert_close(features.mid[:, :96, ::2, ::2], outputs[13])
    assert_close(features.high[..., ::4, ::4], outputs[18])
    assert outputs[18].std() > 1e-3


@pytest.mark.parametrize("stem", ["plain", "deep"])
def test_untrained_features_neither_vanish_nor_saturate(stem: StemName) -> None:
    torch.manual_seed(0)
    backbone = build_backbone("mobilenetv2", stem=stem).eval()
    with torch.no_grad():
        features = backbone(torch.randn(1, 3, 64, 64))
    for values in (features.mid, features.high):
        assert 0.1 < values.std() < 10
    # Both ends of ReLU6: a control with random weights must say more than which channels are on.
    assert (features.high > 0).float().mean() > 0.3
    assert (features.high == 6).float().mean() < 0.01
