import hashlib
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fewshot.model.backbone import BackboneName, build_backbone, load_backbone_weights, read_weights


class RunsCode:
    """What a hostile file holds: unpickling it calls a function."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path, ("touched",)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_load_without_classifier_and_counters_and_in_half_precision(tmp_path: Path, suffix: str) -> None:
    source, target = build_backbone("small"), build_backbone("small")
    weights = {name: value for name, value in source.state_dict().items() if "num_batches" not in name}
    weights["conv1.weight"] = weights["conv1.weight"].half()
    weights["fc.weight"] = torch.zeros(10, 64)
    path = tmp_path / f"weights{suffix}"
    save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    load_backbone_weights(target, path)
    loaded, written = target.state_dict(), source.state_dict()
    assert loaded["conv1.weight"].dtype == torch.float32
    assert torch.equal(loaded["conv1.weight"], written["conv1.weight"].half().float())
    assert torch.equal(loaded["layer4.0.conv2.weight"], written["layer4.0.conv2.weight"])


@pytest.mark.parametrize(
    ("name", "classifier"),
    [
        ("resnet50", "fc.weight"),
        ("vgg16", "classifier.6.bias"),
        ("vgg16_bn", "classifier.0.weight"),
        ("mobilenetv2", "classifier.1.weight"),
    ],
)
def test_every_backbone_leaves_torchvisions_classifier_out_and_nothing_else(
    name: BackboneName, classifier: str, tmp_path: Path
) -> None:
    source, target, path = build_backbone(name), build_backbone(name), tmp_path / "weights.pt"
    weights = dict(source.state_dict()) | {classifier: torch.zeros(10)}
    torch.save(weights, path)
    load_backbone_weights(target, path)
    assert all(torch.equal(value, weights[key]) for key, value in target.state_dict().items())
    missing = next(key for key in weights if key.endswith("weight"))
    torch.save({key: value for key, value in weights.items() if key != missing}, path)
    with pytest.raises(ValueError, match=rf"Found 1 that differ .*`{missing}`\. Pass a torchvision-style state dict"):
        load_backbone_weights(target, path)


def test_the_hash_of_loaded_weights_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(build_backbone("small").state_dict(), path)
    with caplog.at_level(logging.INFO, logger="fewshot.model.backbone.weights"):
        load_backbone_weights(build_backbone("small"), path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() in caplog.text
    assert str(path) in caplog.text


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
