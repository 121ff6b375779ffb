"""How a batch of matrices is cut into blocks that a pass in plain PyTorch takes one by one."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

EVALUATED = 1 << 20
"""Most entries of a block of temporaries on a CPU: they stay in its cache from one operation to the next."""

STORED = 1 << 21
"""Likewise where the entries are only read, twice in a row."""

_ELSEWHERE = 1 << 26
"""Likewise on other devices, where launches should be few."""

WHOLE = 64
"""Entries that are a whole number of the processor's vectors, of any kind, however many PyTorch takes at a time."""

_GAP = 1 << 18
"""Entries that are sooner computed for nothing than stepped over, for what a block costs besides."""


class Block(NamedTuple):
    """Some rows of some problems: all rows of several small problems, or some of one.

    Attributes:
        problems: Which problems.
        rows: Which of their rows.
        meant: (problems, 1), which of the problems are meant; None for all.
    """

    problems: slice
    rows: slice
    meant: Bool[Tensor, "problems 1"] | None

    @property
    def of_rows(self) -> tuple[slice, slice]:
        """Where the block is in a vector over rows, or in a matrix."""
        return self.problems, self.rows

    def write(self, store: Tensor, value: Tensor) -> None:
        """Write a vector over the block's rows."""
        old = store[self.of_rows]
        old.copy_(value if self.meant is None else torch.where(self.meant, value, old))

    def add(self, store: Tensor, value: Tensor) -> None:
        """Add a vector over columns."""
        store[self.problems] += value if self.meant is None else torch.where(self.meant, value, 0.0)


def cut(matrix: Tensor, chosen: Bool[Tensor, " batch"], most: int) -> Iterator[Block]:
    """Cut the chosen problems into blocks; matrices small beside a block share one, with the problems between them.

    Args:
        matrix: (batch, n, m), for its sizes and device.
        chosen: Which problems.
        most: Entries of a block on a CPU, `EVALUATED` or `STORED`; a block is one row at least.
    """
    _, n, m = matrix.shape
    most = at_a_time(matrix.device, most)
    each = max(1, n * m)
    problems = max(1, most // each)
    rows = max(1, n if problems > 1 else most // max(1, m))
    asks = may_ask(chosen.device)
    flags = [bool(flag) for flag in chosen.numpy()] if asks else [True] * len(chosen)
    for first, last in _runs(flags, _GAP // each):
        for begin in range(first, last, problems):
            some = slice(begin, min(last, begin + problems))
            meant = None if asks and all(flags[some]) else chosen[some].unsqueeze(-1)
            for start in range(0, n, rows):
                yield Block(some, slice(start, min(n, start + rows)), meant)


def room_for(matrix: Tensor) -> Tensor:
    """Give memory for the entries of any `EVALUATED` block, to be used again for each."""
    return matrix.new_empty(whole(min(matrix.numel(), max(at_a_time(matrix.device, EVALUATED), matrix.shape[2]))))


def whole(count: int) -> int:
    """Round a number of entries up to a multiple of `WHOLE`."""
    return -(-count // WHOLE) * WHOLE


def at_a_time(device: torch.device, on_cpu: int) -> int:
    """Give how many entries are computed with at a time, where it is so many on a CPU."""
    return on_cpu if device.type == "cpu" else _ELSEWHERE


def may_ask(device: torch.device) -> bool:
    """Tell whether what is done next may depend on numbers: those of another device the host would have to wait for."""
    return device.type == "cpu"


def _runs(chosen: list[bool], gap: int) -> Iterator[tuple[int, int]]:
    """Give the stretches that hold all that is chosen, across gaps up to that long."""
    first = last = -1
    for index, wanted in enumerate(chosen):
        if not wanted:
            continue
        if first >= 0 and index - last > gap:
            yield first, last
            first = -1
        first, last = index if first < 0 else first, index + 1
    if first >= 0:
        yield first, last
