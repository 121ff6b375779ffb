"""Potentials of two clouds in units of the cost, split so that the sum of any two is exact.

    place_i = potential_i / unit − alone_i (+ shift),  high_i + log(weight_i) / unit = place_i

All `high` of a problem are on one grid (see `exponents`), for which its largest potential is looked for by every
program again: that is two hundredths of what the pairs take at the most, and waits for nobody.
"""
# Kernels are programs of another language in Python's clothes.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from typing import NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from partialot.kernels.points import CloudEntries
from partialot.kernels.primitives import Source
from partialot.kernels.triton.exponents import INFINITY, LOG2_E, finite_size, grid_for, split
from partialot.kernels.triton.launching import with_unit_stride

_COST = tl.constexpr(int(Source.COST))
_BLOCK, _WARPS = 2048, 16


class Side(NamedTuple):
    """One side of the pairs.

    Attributes:
        points: See `Points`.
        alone: See `Points`.
        potential: (batch, count), natural and float64; may be -inf.
    """

    points: Tensor
    alone: Tensor
    potential: Tensor


@triton.jit
@no_type_check
def _place(side, k, problem, scales):
    """Give where points are in units of the cost, what they add to it alone taken off; beyond the last, nowhere."""
    alone_ptr, potential_ptr, count, stride = side
    potential = tl.load(potential_ptr + problem * stride + k, mask=k < count, other=-INFINITY)
    return potential * scales[0] - tl.load(alone_ptr + problem * count + k, mask=k < count, other=0.0) + scales[1]


@triton.jit
@no_type_check
def _largest(side, problem, scales, BLOCK: tl.constexpr):
    most = tl.zeros((BLOCK,), dtype=tl.float64)
    for start in tl.range(0, side[2], BLOCK):
        most = tl.maximum(most, finite_size(_place(side, start + tl.arange(0, BLOCK), problem, scales)))
    return tl.max(most, 0)


@triton.jit
@no_type_check
def _write(side, found_ptrs, block, problem, scales, grid, log_unit, BLOCK: tl.constexpr):
    k = block * BLOCK + tl.arange(0, BLOCK)
    high, low = split(_place(side, k, problem, scales), grid, log_unit, tl.float32)
    at = problem * side[2] + k
    tl.store(found_ptrs[0] + at, high, mask=k < side[2])
    tl.store(found_ptrs[1] + at, tl.exp2(low), mask=k < side[2])


@triton.jit
@no_type_check
def _split(own, other, scale_ptrs, source_ptr, own_ptrs, other_ptrs, BLOCK: tl.constexpr):
    problem, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    if tl.load(source_ptr + problem) != _COST:
        return
    unit = tl.load(scale_ptrs[0] + problem)
    # Costs are lowered by the shift on one side.
    ours, theirs = (1.0 / unit, tl.load(scale_ptrs[1] + problem)), (1.0 / unit, 0.0)
    most = tl.maximum(_largest(own, problem, ours, BLOCK), _largest(other, problem, theirs, BLOCK))
    grid, log_unit, blocks = grid_for(most, tl.float32), unit * LOG2_E, tl.cdiv(own[2], BLOCK)
    if block < blocks:
        _write(own, own_ptrs, block, problem, ours, grid, log_unit, BLOCK)
    else:
        _write(other, other_ptrs, block - blocks, problem, theirs, grid, log_unit, BLOCK)


Split = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(high, weight) of either side, (batch, count) in float32."""


def room_for_places(own: Side, other: Side) -> Split:
    """Give memory for what is split, to be used again at every pass."""
    one, two = (
        (torch.empty_like(side.alone, dtype=torch.float32), torch.empty_like(side.alone, dtype=torch.float32))
        for side in (own, other)
    )
    return one, two


def places(own: Side, other: Side, entries: CloudEntries, found: Split) -> None:
    """Write the split potentials over `found`."""
    potentials = with_unit_stride(own.potential), with_unit_stride(other.potential)
    sides = tuple((side.alone, x, x.shape[1], x.stride(0)) for side, x in zip((own, other), potentials, strict=True))
    blocks = sum(-(-side[2] // _BLOCK) for side in sides)
    if len(own.alone) and blocks:
        with torch.cuda.device_of(own.alone):
            _split[(len(own.alone), blocks)](
                *sides,
                (entries.unit, entries.shift),
                entries.source,
                *found,
                BLOCK=_BLOCK,
                num_warps=_WARPS,
                enable_fp_fusion=True,
            )
