"""The least of costs less potentials, over rows or over columns: one read, in float64, nothing written but the minima.

    column_minima_j = min_i (cost_ij − rows_i),   row_minima_i = min_j (cost_ij − columns_j)

Definitions: `partialot.kernels.reference.column_minima` and `row_minima`. Potentials may be -inf, and bind nobody then.
"""
# Kernels are programs of another language in Python's clothes.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from partialot.kernels.triton.exponents import INFINITY
from partialot.kernels.triton.launching import with_unit_stride

_PART, _HEIGHT, _WIDTH = 256, 16, 128
"""Rows, or columns, of a program that goes through them, and the tile that is taken at a time."""


@triton.jit
@no_type_check
def _minima(
    cost_ptr,
    potential_ptr,
    found_ptr,
    cost_strides,
    size,
    PART: tl.constexpr,
    AXIS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    n, m = size
    # Gone through are the rows where AXIS is 0, else the columns.
    through, kept = (n, m) if AXIS == 0 else (m, n)
    STEP: tl.constexpr = BLOCK_N if AXIS == 0 else BLOCK_M
    WIDTH: tl.constexpr = BLOCK_M if AXIS == 0 else BLOCK_N
    parts, blocks, program = tl.cdiv(through, PART), tl.cdiv(kept, WIDTH), tl.program_id(0).to(tl.int64)
    problem, part = program // (parts * blocks), program // blocks % parts
    k = program % blocks * WIDTH + tl.arange(0, WIDTH)
    cost_ptr += problem * cost_strides[0]
    least = tl.full((WIDTH,), INFINITY, dtype=tl.float64)
    for start in tl.range(part * PART, tl.minimum(part * PART + PART, through), STEP):
        t = start + tl.arange(0, STEP)
        i, j = (t, k) if AXIS == 0 else (k, t)
        tile = cost_ptr + i.to(tl.int64)[:, None] * cost_strides[1] + j[None, :]
        cost = tl.load(tile, mask=(i < n)[:, None] & (j < m)[None, :], other=INFINITY).to(tl.float64)
        potential = tl.load(potential_ptr + problem * through + t, mask=t < through, other=-INFINITY)
        least = tl.minimum(least, tl.min(cost - tl.expand_dims(potential, 1 - AXIS), axis=AXIS))
    tl.store(found_ptr + (problem * parts + part) * kept + k, least, mask=k < kept)


def column_minima(cost: Tensor, rows: Tensor) -> Tensor:
    """See `reference.column_minima`."""
    return _least(cost, rows, 0)


def row_minima(cost: Tensor, columns: Tensor) -> Tensor:
    """See `reference.row_minima`."""
    return _least(cost, columns, 1)


def _least(cost: Tensor, potential: Tensor, axis: int) -> Tensor:
    """Take the minima of parts, and the least of these."""
    cost = with_unit_stride(cost)
    batch, n, m = cost.shape
    through, kept, width = (n, m, _WIDTH) if axis == 0 else (m, n, _HEIGHT)
    parts = -(-through // _PART)
    found = torch.empty((batch, parts, kept), dtype=torch.float64, device=cost.device)
    if not found.numel():
        return potential.new_full((batch, kept), torch.inf)
    with torch.cuda.device_of(cost):
        _minima[(batch * parts * -(-kept // width),)](
            cost,
            potential.contiguous(),
            found,
            cost.stride()[:2],
            (n, m),
            PART=_PART,
            AXIS=axis,
            BLOCK_N=_HEIGHT,
            BLOCK_M=_WIDTH,
            num_warps=4,
            enable_fp_fusion=True,
        )
    return found.amin(1)
