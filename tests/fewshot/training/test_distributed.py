"""Two processes that share every batch train what one process trains."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from fewshot.data.storage import load_tensors
from tests.fewshot.pretraining_cases import CONFIG, pretrain_on_rank, pretrain_tiny
from tests.fewshot.training_cases import SCHEDULE, STEADY, find_port, run_in_processes, run_tiny, train_on_rank

ROUNDING = 1e-6
"""Sums of gradients are taken in another order."""


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Every weight is the same up to rounding."""
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=ROUNDING, rtol=0, msg=name)


def test_two_processes_train_the_weights_of_one(tiny_cache: Path, tmp_path: Path) -> None:
    config = replace(SCHEDULE, steps=6, dice_weight=0.5)
    network, _ = run_tiny(None, tiny_cache, config, network=STEADY)
    port = find_port()
    jobs = [(train_on_rank, (rank, port, tmp_path, tiny_cache, config)) for rank in range(2)]
    assert run_in_processes(jobs) == [0, 0]
    assert_close(load_tensors(tmp_path / "last.safetensors"), network.state_dict())


def test_two_processes_pretrain_the_backbone_of_one(tiny_cache: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=6, batch_norm="frozen", learning_rate=0.01)
    backbone, alone = pretrain_tiny(tmp_path / "one", tiny_cache, config)
    port = find_port()
    jobs = [(pretrain_on_rank, (rank, port, tmp_path / "two", tiny_cache, config)) for rank in range(2)]
    assert run_in_processes(jobs) == [0, 0]
    _, shared = pretrain_tiny(tmp_path / "two", tiny_cache, config)
    assert shared.reused
    assert alone.miou is not None
    assert_close(load_tensors(shared.path), backbone.state_dict())
