import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from fewshot.checkpoint import load_checkpoint, save_checkpoint
from fewshot.data.fitting import Fit
from fewshot.data.storage import DamagedFileError, load_tensors, save_tensors
from fewshot.model import CMNet, CMNetConfig, MatchingConfig, MessageFlowConfig


@pytest.fixture
def model() -> CMNet:
    config = CMNetConfig(
        backbone="small",
        width=16,
        dilations=(1, 2),
        message_flow=("cross",),
        flow=MessageFlowConfig(heads=2, neighbourhood=5),
        matching=MatchingConfig(suppliers="foreground", reg=0.2, grid=7),
    )
    return CMNet(config)


def test_a_network_comes_back_as_it_was(model: CMNet, tmp_path: Path) -> None:
    save_checkpoint(model, tmp_path / "run" / "cmnet.safetensors", fit=Fit(48))
    checkpoint = load_checkpoint(tmp_path / "run" / "cmnet.safetensors")
    assert checkpoint.model.config == model.config
    assert checkpoint.fit == Fit(48)
    assert checkpoint.versions["torch"] == torch.__version__
    assert not checkpoint.model.training
    restored = checkpoint.model.state_dict()
    assert restored.keys() == model.state_dict().keys()
    assert all(torch.equal(restored[name], value) for name, value in model.state_dict().items())


def test_a_failed_save_leaves_the_last_checkpoint_as_it_was(model: CMNet, tmp_path: Path) -> None:
    path = tmp_path / "cmnet.safetensors"
    save_checkpoint(model, path, fit=Fit(48))
    before = path.read_bytes()
    with torch.no_grad():
        model.get_parameter("reduction.0.weight")[0] = float("nan")
    with pytest.raises(
        ValueError, match=r"Found others in `reduction\.0\.weight`\. Go back to the last good checkpoint"
    ):
        save_checkpoint(model, path, fit=Fit(48))
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_missing_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Found nothing at .*none\. Train one first"):
        load_checkpoint(tmp_path / "none")


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_a_damaged_checkpoint_is_refused(damage: str, model: CMNet, tmp_path: Path) -> None:
    path = tmp_path / "cmnet.safetensors"
    save_checkpoint(model, path, fit=Fit(48))
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes({"flipped": bytes(content), "cut": bytes(content[:-50]), "empty": b""}[damage])
    with pytest.raises(DamagedFileError, match=r"Found .*cmnet\.safetensors\. Delete the file"):
        load_checkpoint(path)


def test_a_file_of_other_tensors_is_refused(tmp_path: Path) -> None:
    save_tensors(tmp_path / "features.safetensors", {"x": torch.zeros(3)})
    with pytest.raises(ValueError, match=r"Found format None in .*features\.safetensors\. Use a file that"):
        load_checkpoint(tmp_path / "features.safetensors")


def rewrite_header(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what a checkpoint says of its configuration, and keep its weights."""
    with safe_open(path, framework="pt") as file:
        header = json.loads((file.metadata() or {})["cmnet"])
    change(header["config"])
    save_tensors(path, load_tensors(path), notes={"cmnet": json.dumps(header)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda config: config.update(colour="red"),
            r"every field of CMNetConfig and no other\. Found unknown \['colour'\] and missing \[\] in .*\. Use a file",
        ),
        (
            lambda config: config.pop("decoder"),
            r"every field of CMNetConfig .* Found unknown \[\] and missing \['decoder'\] in .*\. Use a file",
        ),
        (
            lambda config: config["matching"].update(epsilon=config["matching"].pop("reg")),
            r"every field of MatchingConfig .* Found unknown \['epsilon'\] and missing \['reg'\] in .*\. Use a file",
        ),
    ],
)
def test_a_configuration_of_other_fields_is_refused(
    change: Callable[[dict[str, Any]], object], message: str, model: CMNet, tmp_path: Path
) -> None:
    path = tmp_path / "cmnet.safetensors"
    save_checkpoint(model, path, fit=Fit(48))
    rewrite_header(path, change)
    with pytest.raises(ValueError, match=message):
        load_checkpoint(path)


def test_a_value_that_no_network_can_have_is_refused(model: CMNet, tmp_path: Path) -> None:
    path = tmp_path / "cmnet.safetensors"
    save_checkpoint(model, path, fit=Fit(48))
    rewrite_header(path, lambda config: config.update(width=0))
    with pytest.raises(ValueError, match=r"`width` must be positive\. Found 0\. Correct"):
        load_checkpoint(path)
