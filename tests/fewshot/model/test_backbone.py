from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fewshot.model.backbone import Backbone, BackboneName, StemName, build_backbone, load_backbone_weights, read_weights


class RunsCode:
    """What a hostile file holds: unpickling it calls a function."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path, ("touched",)


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


@pytest.mark.parametrize(
    ("name", "stem", "size", "mid", "high", "grid"),
    [
        ("small", "plain", (64, 64), 80, 64, (16, 16)),
        ("small", "plain", (33, 70), 80, 64, (9, 18)),
        ("resnet50", "plain", (97, 65), 1536, 2048, (13, 9)),
        ("resnet50", "deep", (65, 65), 1536, 2048, (9, 9)),
    ],
)
def test_the_last_three_stages_share_one_resolution(
    name: BackboneName, stem: StemName, size: tuple[int, int], mid: int, high: int, grid: tuple[int, int]
) -> None:
    backbone = build_backbone(name, stem=stem).eval()
    with torch.no_grad():
        features = backbone(torch.randn(1, 3, *size))
    assert features.mid.shape == (1, mid, *grid)
    assert features.high.shape == (1, high, *grid)
    assert (backbone.mid_channels, backbone.high_channels) == (mid, high)


@pytest.mark.parametrize(("stage", "dilation"), [("layer3", 2), ("layer4", 4)])
@pytest.mark.parametrize("name", ["small", "resnet50"])
def test_late_stages_dilate_in_place_of_striding(name: BackboneName, stage: str, dilation: int) -> None:
    modules = build_backbone(name).get_submodule(stage).modules()
    convolutions = [module for module in modules if isinstance(module, nn.Conv2d)]
    assert {module.stride for module in convolutions} == {(1, 1)}
    assert {module.dilation for module in convolutions if module.kernel_size == (3, 3)} == {(dilation, dilation)}


def test_deepening_unmasked_mid_features_gives_the_high_ones() -> None:
    backbone = build_backbone("small").eval()
    features = backbone(torch.randn(2, 3, 32, 32))
    assert torch.equal(backbone.deepen(features.mid), features.high)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_load_without_classifier_and_counters_and_in_half_precision(tmp_path: Path, suffix: str) -> None:
    source, target = build_backbone("small"), build_backbone("small")
    weights = {name: value for name, value in source.state_dict().items() if "num_batches" not in name}
    weights["conv1.weight"] = weights["conv1.weight"].half()
    weights["fc.weight"] = torch.zeros(10, 64)
    path = tmp_path / f"weights{suffix}"
    save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    load_backbone_weights(target, path)
    assert target.conv1.weight.dtype == torch.float32
    assert torch.equal(target.conv1.weight, source.conv1.weight.half().float())
    assert torch.equal(target.layer4[0].conv2.weight, source.layer4[0].conv2.weight)


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_weights_of_another_network_are_refused(tmp_path: Path, change: str) -> None:
    weights = dict(build_backbone("small").state_dict())
    if change == "missing":
        del weights["layer3.0.conv1.weight"]
    elif change == "unexpected":
        weights["layer5.weight"] = torch.zeros(1)
    else:
        weights["layer2.0.conv1.weight"] = torch.zeros(1, 1, 3, 3)
    save_file(weights, tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=r"Found 1 that differ .*`layer\d.*`\. Pass a torchvision-style state dict"):
        load_backbone_weights(build_backbone("small"), tmp_path / "weights.safetensors")


def test_a_missing_file_of_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Found nothing at .*none\.pt\. Download the weights first"):
        read_weights(tmp_path / "none.pt")


@pytest.mark.parametrize("name", ["cut.safetensors", "cut.pt", "empty.pt", "hostile.pt"])
def test_a_damaged_or_hostile_file_of_weights_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "hostile.pt":
        torch.save({"conv1.weight": RunsCode()}, path)
    elif name == "empty.pt":
        path.write_bytes(b"")
    else:
        weights = {"conv1.weight": torch.zeros(100)}
        save_file(weights, path) if path.suffix == ".safetensors" else torch.save(weights, path)
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"Found something else in .*\. Fetch it again"):
        read_weights(path)


def test_a_file_that_holds_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "run.pt")
    with pytest.raises(ValueError, match=r"Found dict in .*\. Save `model.state_dict\(\)` alone"):
        read_weights(tmp_path / "run.pt")
