from pathlib import Path

import pytest
import torch

from fewshot.checkpoint import load_checkpoint, save_checkpoint
from fewshot.data.storage import DamagedFileError, save_tensors
from fewshot.model import CMNet, CMNetConfig, MatchingConfig, MessageFlowConfig


@pytest.fixture
def model() -> CMNet:
    config = CMNetConfig(
        backbone="small",
        width=16,
        dilations=(1, 2),
        message_flow=("cross",),
        flow=MessageFlowConfig(heads=2, neighbourhood=5),
        matching=MatchingConfig(suppliers="foreground", reg=0.2),
    )
    return CMNet(config)


def test_a_network_comes_back_as_it_was(model: CMNet, tmp_path: Path) -> None:
    save_checkpoint(model, tmp_path / "run" / "cmnet.safetensors", image_size=48)
    checkpoint = load_checkpoint(tmp_path / "run" / "cmnet.safetensors")
    assert checkpoint.model.config == model.config
    assert checkpoint.image_size == 48
    assert checkpoint.versions["torch"] == torch.__version__
    assert not checkpoint.model.training
    restored = checkpoint.model.state_dict()
    assert restored.keys() == model.state_dict().keys()
    assert all(torch.equal(restored[name], value) for name, value in model.state_dict().items())


def test_a_failed_save_leaves_the_last_checkpoint_as_it_was(model: CMNet, tmp_path: Path) -> None:
    path = tmp_path / "cmnet.safetensors"
    save_checkpoint(model, path, image_size=48)
    before = path.read_bytes()
    with torch.no_grad():
        model.get_parameter("reduction.0.weight")[0] = float("nan")
    with pytest.raises(
        ValueError, match=r"Found others in `reduction\.0\.weight`\. Go back to the last good checkpoint"
    ):
        save_checkpoint(model, path, image_size=48)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_missing_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Found nothing at .*none\. Train one first"):
        load_checkpoint(tmp_path / "none")


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_a_damaged_checkpoint_is_refused(damage: str, model: CMNet, tmp_path: Path) -> None:
    path = tmp_path / "cmnet.safetensors"
    save_checkpoint(model, path, image_size=48)
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes({"flipped": bytes(content), "cut": bytes(content[:-50]), "empty": b""}[damage])
    with pytest.raises(DamagedFileError, match=r"Found .*cmnet\.safetensors\. Delete the file"):
        load_checkpoint(path)


def test_a_file_of_other_tensors_is_refused(tmp_path: Path) -> None:
    save_tensors(tmp_path / "features.safetensors", {"x": torch.zeros(3)})
    with pytest.raises(ValueError, match=r"Found format None in .*features\.safetensors\. Use a file that"):
        load_checkpoint(tmp_path / "features.safetensors")


def test_an_image_size_that_is_not_positive_is_refused(model: CMNet, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Found 0\. Pass the side of the training images"):
        save_checkpoint(model, tmp_path / "cmnet.safetensors", image_size=0)
