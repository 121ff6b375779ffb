"""Clocks for what runs on a card, which returns before it is done."""

from collections.abc import Callable
from functools import cache

import torch
from timing import Clock, wait_for, wall

_FLUSH = 1 << 28
"""Numbers that are overwritten before a run: 1 GiB throws everything out of the L2 cache, and takes so long that the
launches of a pass are in the queue when it is done."""


@cache
def waited(device: torch.device) -> Clock:
    """A clock on the wall, from nothing under way to everything done: what a user waits."""

    def clock(run: Callable[[], object]) -> float:
        wait_for(device)

        def run_to_the_end() -> None:
            run()
            wait_for(device)

        return wall(run_to_the_end)

    return clock


@cache
def on_device(device: torch.device) -> Clock:
    """A clock on the card, by events around the work, which finds its inputs in memory and not in a cache.

    Launches are waited for only where they are slower than the card, or where the run itself waits.
    """
    if device.type != "cuda":
        return wall
    room = torch.empty(_FLUSH, device=device)

    def clock(run: Callable[[], object]) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        room.zero_()
        begin.record()
        run()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3

    return clock
