from collections.abc import Callable

import pytest
import torch

from fewshot.model.backbone import Backbone, BackboneName, StemName, build_backbone

# Channels of the third and second stage and of the fourth.
CHANNELS: dict[BackboneName, tuple[int, int, int]] = {
    "small": (48, 32, 64),
    "resnet50": (1024, 512, 2048),
    "resnet101": (1024, 512, 2048),
    "resnet50v2": (1024, 512, 1024),
    "vgg16": (512, 256, 512),
    "vgg16_bn": (512, 256, 512),
    "mobilenetv2": (96, 32, 1280),
}
SIZES = [(473, 473), (417, 417), (225, 225), (64, 48), (97, 65), (33, 70), (1, 9)]
VARIANTS: list[tuple[BackboneName, StemName]] = [
    *((name, "plain") for name in CHANNELS),
    *((name, "deep") for name in ("resnet50", "mobilenetv2")),
]


@pytest.mark.parametrize(("name", "stem"), VARIANTS)
def test_the_last_three_stages_share_one_resolution_for_images_of_any_size(name: BackboneName, stem: StemName) -> None:
    layer3, layer2, layer4 = CHANNELS[name]
    # Shapes alone, nothing is computed.
    with torch.device("meta"):
        backbone = build_backbone(name, stem=stem).eval()
        for size in SIZES:
            features = backbone(torch.empty(2, 3, *size))
            grid = tuple(-(-side // backbone.stride) for side in size)
            assert features.mid.shape == (2, layer3 + layer2, *grid)
            assert features.high.shape == (2, layer4, *grid)
    assert (backbone.mid_channels, backbone.high_channels) == (layer3 + layer2, layer4)
    assert backbone.layer3_channels == layer3
    assert backbone.stride == (4 if name == "small" else 8)


def test_the_grids_of_the_published_image_sizes_are_the_published_ones() -> None:
    with torch.device("meta"):
        backbone = build_backbone("vgg16").eval()
        sides = [backbone(torch.empty(1, 3, side, side)).mid.shape[-1] for side in (225, 417, 473)]
    assert sides == [29, 53, 60]


@pytest.mark.parametrize(("name", "stem"), VARIANTS)
def test_deepening_unmasked_mid_features_gives_the_high_ones(
    name: BackboneName, stem: StemName, make_backbone: Callable[..., Backbone]
) -> None:
    backbone = make_backbone(name, stem=stem)
    features = backbone(torch.randn(1, 3, 40, 33, dtype=torch.float64))
    assert torch.equal(backbone.deepen(features.mid), features.high)
    masked = features.mid * (torch.arange(features.mid.shape[-1]) < 2)
    assert not torch.equal(backbone.deepen(masked), features.high)


@pytest.mark.parametrize("name", ["small", "resnet50", "resnet50v2", "vgg16", "vgg16_bn", "mobilenetv2"])
def test_different_images_of_a_batch_get_different_features_that_do_not_mix(
    name: BackboneName, make_backbone: Callable[..., Backbone]
) -> None:
    backbone, images = make_backbone(name), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    together, alone = backbone(images), backbone(images[1:])
    torch.testing.assert_close(together.high[1:], alone.high)
    assert not torch.allclose(together.high[0], together.high[1], rtol=1e-3)
