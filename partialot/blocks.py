"""How many prices that are stored nowhere are evaluated at a time, and the memory they are written to."""

import torch
from torch import Tensor

from partialot.geometry import Geometry
from partialot.inputs import working_type

_BLOCK = 1 << 21
"""Prices of a lazy geometry evaluated at a time on a CPU: 8 MB of float32, which stay in a cache of the last level."""

_FEWEST_ROWS = 32
"""Fewest rows evaluated at a time, however long: with fewer, what is done once a block shows."""


def row_blocks(geometry: Geometry) -> list[slice]:
    """Cut the rows of a lazy geometry into blocks of a few megabytes, those of a stored one into one."""
    n, m = geometry.size
    count, entries = geometry.batch_shape.numel(), _BLOCK if geometry.device.type == "cpu" else 1 << 25
    step = n if not geometry.is_lazy else max(1, -(-_FEWEST_ROWS // max(1, count)), entries // max(1, m * count))
    return [slice(start, min(n, start + step)) for start in range(0, max(n, 1), max(step, 1))]


def block_room(geometry: Geometry) -> Tensor | None:
    """Give memory for the largest block of lazy prices."""
    if not geometry.is_lazy:
        return None
    rows = max(block.stop - block.start for block in row_blocks(geometry))
    count = geometry.batch_shape.numel() * rows * geometry.size[1]
    return torch.empty(count, dtype=working_type(geometry.dtype), device=geometry.device)
