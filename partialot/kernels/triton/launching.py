"""How problems are cut into programs, and what the kernels are handed."""
# Kernels are programs of another language in Python's clothes.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

_PROGRAMS = 132
"""A large problem is cut into about so many: as many as an H100 or H200 has multiprocessors. It is no property of the
device at hand, lest results depend on it."""

_FEWEST_ROWS, _ROWS = 24, 32
"""Where that would leave a program fewer rows than the former, it has the latter: its sums over columns are then 1/32
of what it reads. By reckoning, not by measurement: two programs a multiprocessor take 4 problems of 3600 rows in two
rounds, and eight take 64 of 1024 in two."""

MOST_PLACES = 512
"""Potentials of rows that a program looks at together: where columns are few, it may have thousands, and one warp."""

_PROGRAMS_OF_PAIRS = 1056
"""A problem is cut into about so many, eight for each multiprocessor of an H100, by reckoning and not by measurement;
it is no property of the device at hand, lest results depend on it."""

_FEWEST_OTHERS = 256
"""Fewest points that a program goes through: its own are read, and its sums written, once."""


@dataclass(frozen=True)
class Work:
    """What goes with the type that entries are computed in.

    Attributes:
        dtype: The type.
        kind: The same for Triton.
        wild: Sums are taken again with the largest term divided out where their logarithm to base 2 is beyond this, up
            or down: half of the range that keeps all digits, for over-relaxed updates go up to twice as far.
        widest: Columns whose entries a program can keep in its registers.
        small: Natural logarithms of sums below which the gains of over-relaxation are taken by their series.
    """

    dtype: torch.dtype
    kind: tl.dtype
    wild: float
    widest: int
    small: float

    @classmethod
    def of(cls, cost: Tensor) -> "Work":
        """Give what costs are computed with."""
        if cost.dtype == torch.float64:
            return cls(torch.float64, tl.float64, 486.0, 8192, 1e-4)
        return cls(torch.float32, tl.float32, 52.0, 16384, 0.02)


@dataclass(frozen=True)
class Cut:
    """How the rows of each problem are divided.

    Attributes:
        rows: Of a program.
        programs: Of a problem.
        height: Rows taken at a time.
        width: Columns, a power of 2: all of them.
        warps: Of a program.
    """

    rows: int
    programs: int
    height: int
    width: int
    warps: int

    @classmethod
    def of(cls, n: int, m: int, work: Work) -> "Cut":
        """Cut problems of a size.

        A thread keeps 64 entries of float32, and as many sums, beside half as many potentials in two parts: all of its
        255 registers (32 entries in rows so long that a block of threads can have half of the registers only). Few long
        rows are better than many short ones, whose updates each thread does for itself.
        """
        width = max(16, triton.next_power_of_2(m))
        single = work.dtype == torch.float32
        warps = min(16, max(1, width // (1024 if single else 512)))
        height = max(1, min(_ROWS, (64 if single and width < work.widest else 16) * 32 * warps // width))
        rows = -(-n // _PROGRAMS)
        rows = -(-rows // height) * height if rows >= _FEWEST_ROWS else _ROWS
        return cls(rows, max(1, -(-n // rows)), height, width, warps)


@dataclass(frozen=True)
class Tiles:
    """How the pairs of two clouds of points are divided.

    Attributes:
        height: Points of a program.
        width: Others taken at a time.
        warps: Of a program.
        part: Others that a program goes through, a multiple of the width.
        parts: Programs with the same points.
    """

    height: int
    width: int
    warps: int
    part: int
    parts: int

    @classmethod
    def of(cls, n: int, m: int, *, narrow: bool, deep: bool, times: int = 1) -> "Tiles":
        """Cut pairs of n points with m.

        Args:
            n: Of the programs' own.
            m: Of the others.
            narrow: Whether costs are sums over a few coordinates: a thread then has points for itself.
            deep: Whether products are taken in several pieces, which are read for each tile again.
            times: How often all pairs are gone through beside each other.
        """
        height, width, warps = (256, 32, 4) if narrow else (128, 128, 8) if deep else (128, 64, 4)
        most = max(1, min(_PROGRAMS_OF_PAIRS // (times * -(-n // height)), m // _FEWEST_OTHERS))
        part = -(-m // (most * width)) * width
        return cls(height, width, warps, part, -(-m // part))


def with_unit_stride(tensor: Tensor) -> Tensor:
    """Give a tensor whose last dimension is contiguous, a copy only where it is not."""
    return tensor if tensor.shape[-1] <= 1 or tensor.stride(-1) == 1 else tensor.contiguous()
