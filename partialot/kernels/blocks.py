"""How a batch of matrices is cut into blocks that a pass in plain PyTorch takes one by one."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

_MOST = {"cpu": 1 << 20}
"""Entries of a block: on a CPU few enough to stay in its cache between the operations on them."""

_MOST_ELSEWHERE = 1 << 26
"""Likewise on other devices, where the launches should be few."""

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


def cut(matrix: Tensor, chosen: Bool[Tensor, " batch"]) -> Iterator[Block]:
    """Cut the chosen problems into blocks; matrices small beside a block share one, with the problems between them.

    Args:
        matrix: (batch, n, m), for its sizes and device.
        chosen: Which problems.
    """
    _, n, m = matrix.shape
    most = _MOST.get(matrix.device.type, _MOST_ELSEWHERE)
    each = max(1, n * m)
    problems = max(1, most // each)
    rows = max(1, n if problems > 1 else most // max(1, m))
    flags = chosen.tolist()
    for first, last in _runs(flags, _GAP // each):
        for begin in range(first, last, problems):
            some = slice(begin, min(last, begin + problems))
            meant = None if all(flags[some]) else chosen[some].unsqueeze(-1)
            for start in range(0, n, rows):
                yield Block(some, slice(start, min(n, start + rows)), meant)


def room_for(matrix: Tensor) -> Tensor:
    """Give memory for any block's entries, to be used again for each."""
    batch, n, m = matrix.shape
    most = _MOST.get(matrix.device.type, _MOST_ELSEWHERE)
    return matrix.new_empty(min(batch * n * m, max(most, m)))


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
