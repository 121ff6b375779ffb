import pytest
from torch import nn

from fewshot.model.backbone import Backbone, BackboneName, build_backbone


def count(backbone: Backbone) -> int:
    return sum(parameter.numel() for parameter in backbone.parameters())


@pytest.mark.parametrize(("name", "parameters", "entries"), [("resnet50", 23508032, 318), ("resnet101", 42500160, 624)])
def test_resnets_have_as_many_weights_as_torchvisions_without_classifier(
    name: BackboneName, parameters: int, entries: int
) -> None:
    backbone = build_backbone(name)
    assert count(backbone) == parameters
    assert len(backbone.state_dict()) == entries


def test_resnet50_has_the_names_of_torchvision() -> None:
    shapes = {name: tuple(value.shape) for name, value in build_backbone("resnet50").state_dict().items()}
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes["layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    assert shapes["layer3.5.bn3.running_var"] == (1024,)
    assert shapes["layer4.2.conv2.weight"] == (512, 512, 3, 3)


def test_the_deep_stem_has_three_convolutions() -> None:
    shapes = {name: tuple(value.shape) for name, value in build_backbone("resnet50", stem="deep").state_dict().items()}
    assert [shapes[f"conv{number}.weight"] for number in (1, 2, 3)] == [(64, 3, 3, 3), (64, 64, 3, 3), (128, 64, 3, 3)]
    assert shapes["layer1.0.conv1.weight"] == (64, 128, 1, 1)


@pytest.mark.parametrize(("stage", "dilation"), [("layer3", 2), ("layer4", 4)])
@pytest.mark.parametrize("name", ["small", "resnet50"])
def test_late_stages_dilate_in_place_of_striding(name: BackboneName, stage: str, dilation: int) -> None:
    modules = build_backbone(name).get_submodule(stage).modules()
    convolutions = [module for module in modules if isinstance(module, nn.Conv2d)]
    assert {module.stride for module in convolutions} == {(1, 1)}
    assert {module.dilation for module in convolutions if module.kernel_size == (3, 3)} == {(dilation, dilation)}
