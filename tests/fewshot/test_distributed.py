"""Two processes that share every batch train what one process trains."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fewshot.data.storage import load_tensors
from tests.fewshot.training_cases import SCHEDULE, STEADY, run_in_processes, run_tiny, train_on_rank


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_two_processes_train_the_weights_of_one(tiny_cache: Path, tmp_path: Path) -> None:
    config = replace(SCHEDULE, steps=6, dice_weight=0.5)
    network, result = run_tiny(None, tiny_cache, config, network=STEADY)
    port = find_port()
    jobs = [(train_on_rank, (rank, port, tmp_path, tiny_cache, config)) for rank in range(2)]
    assert run_in_processes(jobs) == [0, 0]
    shared = load_tensors(tmp_path / "last.safetensors")
    for name, value in network.state_dict().items():
        torch.testing.assert_close(shared[name], value, atol=1e-6, rtol=0, msg=name)
