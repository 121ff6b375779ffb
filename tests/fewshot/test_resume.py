"""A training that was killed goes on as if nothing had happened, to the last bit."""

from pathlib import Path
from signal import SIGKILL

import pytest
import torch

from fewshot.data.storage import load_tensors
from fewshot.model.cmnet import CMNet
from fewshot.training import TrainingResult
from tests.fewshot.training_cases import Death, run_in_process, run_tiny, train_until_killed

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


@pytest.mark.parametrize("deaths", DEATHS.values(), ids=DEATHS)
def test_a_killed_training_ends_with_the_weights_of_an_uninterrupted_one(
    deaths: list[Death], uninterrupted: tuple[CMNet, TrainingResult], tiny_cache: Path, tmp_path: Path
) -> None:
    for death in deaths:
        assert run_in_process(train_until_killed, tmp_path, tiny_cache, death) == -SIGKILL
    network, result = run_tiny(tmp_path, tiny_cache)
    expected, whole = uninterrupted
    assert result.losses == whole.losses
    for name, value in expected.state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name
    assert load_tensors(tmp_path / "last.safetensors").keys() == expected.state_dict().keys()
    assert not list(tmp_path.glob("*.part"))
