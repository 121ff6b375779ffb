"""When a matrix of prices is worth its memory."""

import os
from typing import Literal, get_args

import torch

Storage = Literal["auto", "matrix", "blocks"]

_STORED = 1 << 30
"""Largest matrix, in bytes, that `storage="auto"` stores: 16,384² prices of float32.

No bound of speed: by `benchmarks/bench_storage.py` (500 and 2,000 points in 3, 64 and 512 dimensions, one thread, a
busy machine) a sweep without a matrix takes 1.4 to 68 times as long, and the matrix has paid for itself after 2 to 5
sweeps. It is where what is held at a time would become 6 to 8 GiB, which nobody asked for."""

_SHARE = 16
"""It is also at most one part in so many of the device's memory: by the same command, from 2,000 to 8,000 points, a
solve and its backward passes hold 6 to 8 such matrices at a time, which leaves half of the memory to others."""


def pays_to_store(entries: int, itemsize: int, device: torch.device) -> bool:
    """Tell whether `storage="auto"` writes a matrix out.

    Args:
        entries: How many prices there are, over the whole batch.
        itemsize: Bytes of one.
        device: Where they would be.
    """
    return entries * itemsize <= min(_STORED, _memory(device) // _SHARE)


def check_storage(storage: object) -> None:
    """Require a known way to store prices.

    Raises:
        ValueError: There is no such one.
    """
    if storage not in get_args(Storage):
        raise ValueError(
            f"`storage` must be 'auto', 'matrix' or 'blocks'. Found {storage!r}. "
            "Pass 'blocks' to store no matrix whatever the size."
        )


def _memory(device: torch.device) -> int:
    """Give the bytes that the device has, free or not: a plan must not depend on what else runs."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return _STORED * _SHARE
