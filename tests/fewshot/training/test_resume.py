"""A training that was killed goes on as if nothing had happened, to the last bit."""

from pathlib import Path
from signal import SIGKILL

import pytest
import torch

from fewshot.data.storage import load_tensors
from fewshot.model.cmnet import CMNet
from fewshot.training.train import TrainingResult
from tests.fewshot.training_cases import (
    Death,
    run_in_process,
    run_tiny,
    run_tiny_on_pixels,
    train_on_pixels_until_killed,
    train_until_killed,
)

DEATHS = {
    "before the first checkpoint": [Death(step=2)],
    "between two checkpoints": [Death(step=7)],
    "just after a checkpoint": [Death(step=6)],
    "twice": [Death(step=5), Death(step=10)],
    "twice without progress": [Death(step=5), Death(step=4)],
    "while the first checkpoint is written": [Death(writing=1)],
    "while a later checkpoint is written": [Death(writing=2), Death(writing=2)],
    "while the weights are written": [Death(writing=4)],
}


@pytest.fixture(scope="module")
def uninterrupted(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[CMNet, TrainingResult]:
    return run_tiny(tmp_path_factory.mktemp("whole"), tiny_cache)


def assert_same(network: CMNet, result: TrainingResult, expected: tuple[CMNet, TrainingResult]) -> None:
    """Losses and weights are the same to the last bit."""
    assert result.losses == expected[1].losses
    found = network.state_dict()
    assert [name for name, value in expected[0].state_dict().items() if not torch.equal(found[name], value)] == []


@pytest.mark.parametrize("deaths", DEATHS.values(), ids=DEATHS)
def test_a_killed_training_ends_with_the_weights_of_an_uninterrupted_one(
    deaths: list[Death], uninterrupted: tuple[CMNet, TrainingResult], tiny_cache: Path, tmp_path: Path
) -> None:
    for death in deaths:
        assert run_in_process(train_until_killed, tmp_path, tiny_cache, death) == -SIGKILL
    network, result = run_tiny(tmp_path, tiny_cache)
    assert_same(network, result, uninterrupted)
    assert load_tensors(tmp_path / "last.safetensors").keys() == network.state_dict().keys()
    assert not list(tmp_path.glob("*.part"))


def test_augmented_images_and_drifting_statistics_are_resumed_too(tiny_cache: Path, tmp_path: Path) -> None:
    whole = run_tiny_on_pixels(tmp_path / "whole", tiny_cache)
    assert run_in_process(train_on_pixels_until_killed, tmp_path, tiny_cache, Death(step=8)) == -SIGKILL
    assert_same(*run_tiny_on_pixels(tmp_path, tiny_cache), whole)
