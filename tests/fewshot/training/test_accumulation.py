"""A batch that goes through the network in portions teaches what it teaches at once."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fewshot.data.storage import load_tensors
from fewshot.training.batches import Portions, StepNumbers
from fewshot.training.config import TrainingConfig
from fewshot.training.episodic import EpisodicStage
from fewshot.training.stages import Plan, seed_step
from tests.fewshot.training_cases import (
    NETWORK,
    SCHEDULE,
    STEADY,
    find_port,
    make_batches,
    make_network,
    run_in_processes,
    run_tiny,
    train_on_rank,
)

ROUNDING = 1e-6
"""Sums of gradients are taken in another order."""

SHORT = replace(SCHEDULE, steps=6, dice_weight=0.5, max_gradient_norm=1.0)
WITH_MAPS = replace(STEADY, transport="partial")


class Interrupted(Exception):
    """What stops a training in these tests."""


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Every weight is the same up to rounding."""
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=ROUNDING, rtol=0, msg=name)


@pytest.mark.parametrize("size", [1, 2])
def test_portions_train_the_weights_of_the_whole_batch(size: int, tiny_cache: Path, tmp_path: Path) -> None:
    """The pictures are unevenly labelled: a mean of the portions' own means would be another loss."""
    whole, expected = run_tiny(None, tiny_cache, SHORT, network=STEADY)
    config = replace(SHORT, micro_batch_size=size, keep_every=2, checkpoint_every=4)
    network, found = run_tiny(tmp_path, tiny_cache, config, network=STEADY)
    assert_close(network.state_dict(), whole.state_dict())
    assert found.losses == pytest.approx(expected.losses, abs=ROUNDING)
    assert sorted(path.stem for path in tmp_path.glob("step-*")) == ["step-0000002", "step-0000004", "step-0000006"]


def test_supervised_maps_too_are_averaged_over_the_whole_batch(tiny_cache: Path) -> None:
    config = replace(SCHEDULE, steps=2, map_weight=1.0)
    whole, _ = run_tiny(None, tiny_cache, config, network=WITH_MAPS)
    network, _ = run_tiny(None, tiny_cache, replace(config, micro_batch_size=1), network=WITH_MAPS)
    assert_close(network.state_dict(), whole.state_dict())


def test_two_processes_with_portions_train_the_weights_of_one(tiny_cache: Path, tmp_path: Path) -> None:
    whole, _ = run_tiny(None, tiny_cache, SHORT, network=STEADY)
    config, port = replace(SHORT, micro_batch_size=1), find_port()
    jobs = [(train_on_rank, (rank, port, tmp_path, tiny_cache, config)) for rank in range(2)]
    assert run_in_processes(jobs) == [0, 0]
    assert_close(load_tensors(tmp_path / "last.safetensors"), whole.state_dict())


def test_a_training_that_stopped_between_two_portions_is_resumed_to_the_bit(
    tiny_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(SCHEDULE, micro_batch_size=2)
    whole, expected = run_tiny(tmp_path / "whole", tiny_cache, config)
    calls, learn = [0], EpisodicStage.learn_from

    def stop(stage: EpisodicStage, batch: Any) -> Any:
        calls[0] += 1
        # The second portion of the eighth step.
        if calls[0] == 16:
            raise Interrupted
        return learn(stage, batch)

    with monkeypatch.context() as patch:
        patch.setattr(EpisodicStage, "learn_from", stop)
        with pytest.raises(Interrupted):
            run_tiny(tmp_path / "run", tiny_cache, config)
    network, found = run_tiny(tmp_path / "run", tiny_cache, config)
    assert found.losses == expected.losses
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in network.state_dict().items())


def test_portions_hold_the_episodes_of_the_batch_and_the_truth_of_all_of_them(tiny_cache: Path) -> None:
    source = make_batches(make_network(), tiny_cache)
    loader = Portions(source, StepNumbers(first=1, steps=3, batch_size=4), portions=2, workers=0)
    found = [portion.to("cpu") for portion in loader]
    assert (len(found), len(loader)) == (4, 6), "all steps count, those before the first one too"
    whole = source[(4, 5, 6, 7)].query_mask
    assert whole is not None
    for portion in found[:2]:
        assert torch.equal(torch.cat(portion.truths), whole)
    contents = [portion.content.query_mask for portion in found[:2]]
    assert torch.equal(torch.cat([mask for mask in contents if mask is not None]), whole)


def test_portions_draw_apart_from_each_other_and_the_first_like_a_whole_batch() -> None:
    """With equal draws dropout would leave out the same channels of every portion of a batch."""
    assert seed_step(3, 5, rank=0, portion=0) == seed_step(3, 5, rank=0)
    assert len({seed_step(3, 5, rank=rank, portion=portion) for rank in (0, 1) for portion in range(3)}) == 6


def test_portions_must_be_equal() -> None:
    message = (
        r"must divide .* Found `micro_batch_size = 3` for 4 episodes, `batch_size = 8` over 2 processes\. Change one"
    )
    with pytest.raises(ValueError, match=message):
        TrainingConfig(batch_size=8, micro_batch_size=3).count_portions(2)
    assert TrainingConfig(batch_size=8, micro_batch_size=2).count_portions(2) == 2
    assert TrainingConfig(batch_size=8).count_portions(2) == 1


def test_statistics_of_a_batch_cannot_be_taken_of_its_portions(tiny_cache: Path) -> None:
    config = replace(SCHEDULE, micro_batch_size=2)
    network = make_network(replace(NETWORK, backbone_bn="train"))
    source = make_batches(make_network(), tiny_cache)
    with pytest.raises(
        ValueError, match=r"must be None where .* Found 2 portions and `backbone_bn = 'train'`\. Set `back"
    ):
        EpisodicStage(network, config, Plan("the test", 1, 4, 0, 0.9), source, portions=2)
