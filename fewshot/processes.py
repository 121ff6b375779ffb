"""Several processes that work on one thing: who is the first, who waits for whom, and whether they see one disk."""

import atexit
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import cast

import torch
from torch import distributed

_PATIENCE = timedelta(days=7)
"""How long processes wait for the first one: features of a large data set may take it hours."""


def find_rank() -> tuple[int, int]:
    """Give the number of this process, from 0, and how many there are; (0, 1) where there is no group of them."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def is_first_process() -> bool:
    """Say whether this process is the one of several that writes and prints.

    Before the processes know each other, the variables tell that `torchrun` and Lightning set for those they start.
    """
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank() == 0
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0


def join_processes(device: torch.device) -> torch.device:
    """Form a group of the processes that `torchrun` started; without it, or in a group already, nothing happens.

    Args:
        device: What all of them were told to compute on.

    Returns:
        What this one computes on: a GPU of its own where that is a GPU.
    """
    if not distributed.is_available() or not distributed.is_torchelastic_launched():
        return device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(distributed.destroy_process_group)
    return device


@contextmanager
def first_process_first() -> Iterator[None]:
    """Let the first of several processes go through alone and then the others, who find what it has left on disk."""
    rank, processes = find_rank()
    if processes == 1:
        yield
        return
    # Made by all before any of them waits: they have to meet for it.
    group = _patient_group()
    if rank > 0:
        distributed.barrier(group)
    try:
        yield
    finally:
        # Also where it failed: the others must not wait for ever.
        if rank == 0:
            distributed.barrier(group)


def require_shared_folder(folder: Path) -> None:
    """Make sure that all processes see one folder; every one of them must call this.

    Raises:
        ValueError: They do not, so that each machine would find and resume what the others do not have.
    """
    rank, processes = find_rank()
    if processes == 1:
        return
    group, names = _patient_group(), [f".shared-{secrets.token_hex(8)}"]
    distributed.broadcast_object_list(names, group=group)
    probe = folder / names[0]
    if rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
    distributed.barrier(group)
    seen = torch.tensor(int(probe.exists()))
    distributed.all_reduce(seen, group=group)
    if rank == 0:
        probe.unlink()
    if seen < processes:
        raise ValueError(
            f"All processes must share the folders of a run. Found that {int(seen)} of {processes} see what the first "
            f"one wrote into {folder}. Put `output` and `cache` on a disk that all machines have under the same path."
        )


@cache
def _patient_group() -> distributed.ProcessGroup:
    """Make a group for waiting, on CPUs: NCCL gives up after minutes."""
    return cast("distributed.ProcessGroup", distributed.new_group(backend="gloo", timeout=_PATIENCE))
