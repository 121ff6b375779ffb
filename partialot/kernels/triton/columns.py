"""Sums over columns at any potentials: the largest terms divided out, all in float64.

    log_sum_j = log Σ_i exp(rows_i − unit · (cost_ij − shift))

Definition: `partialot.kernels.reference.column_log_sums`. It is asked for where the pass over rows found sums out of
the range of the type, which is rare: exponentials of float64, which the device takes by software, are no loss.
"""
# Kernels are programs of another language in Python's clothes.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from partialot.kernels.primitives import Prices
from partialot.kernels.triton.exponents import INFINITY, LN_2, LOG2_E
from partialot.kernels.triton.launching import with_unit_stride

_ROWS, _HEIGHT, _WIDTH = 256, 16, 64
"""Rows of a program, and the tile that is taken at a time."""


@triton.jit
@no_type_check
def _column_log_sums(
    cost_ptr,
    scale_ptrs,
    rows_ptr,
    found_ptr,
    cost_strides,
    rows_stride,
    size,
    ROWS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    n, m = size
    parts, blocks = tl.cdiv(n, ROWS), tl.cdiv(m, BLOCK_M)
    program = tl.program_id(0).to(tl.int64)
    problem, part, block = program // (parts * blocks), program // blocks % parts, program % blocks
    log_unit, shift = tl.load(scale_ptrs[0] + problem) * LOG2_E, tl.load(scale_ptrs[1] + problem)
    cost_ptr += problem * cost_strides[0]
    first, j = part * ROWS, block * BLOCK_M + tl.arange(0, BLOCK_M)
    anchor = tl.full((BLOCK_M,), -INFINITY, dtype=tl.float64)
    sums = tl.zeros((BLOCK_M,), dtype=tl.float64)
    for start in tl.range(first, tl.minimum(first + ROWS, n), BLOCK_N):
        i = start + tl.arange(0, BLOCK_N)
        tile = cost_ptr + i[:, None] * cost_strides[1] + j[None, :]
        cost = tl.load(tile, mask=(i < n)[:, None] & (j < m)[None, :], other=0.0).to(tl.float64)
        rows = tl.load(rows_ptr + problem * rows_stride + i, mask=i < n, other=-INFINITY) * LOG2_E
        logs = rows[:, None] - (cost - shift) * log_unit
        most = tl.maximum(anchor, tl.max(logs, axis=0))
        known = tl.where(most > -INFINITY, most, 0.0)
        sums = sums * tl.exp2(anchor - known) + tl.sum(tl.exp2(logs - known[None, :]), axis=0)
        anchor = most
    total = tl.log2(sums) + tl.where(anchor > -INFINITY, anchor, 0.0)
    tl.store(found_ptr + (problem * parts + part) * m + j, total * LN_2, mask=j < m)


def column_log_sums(prices: Prices, rows: Tensor) -> Tensor:
    """See `reference.column_log_sums`."""
    cost, rows = with_unit_stride(prices.cost), with_unit_stride(rows)
    batch, n, m = cost.shape
    parts = -(-n // _ROWS)
    found = torch.empty((batch, parts, m), dtype=torch.float64, device=cost.device)
    if not found.numel():
        return rows.new_full((batch, m), -torch.inf)
    with torch.cuda.device_of(cost):
        _column_log_sums[(batch * parts * -(-m // _WIDTH),)](
            cost,
            (prices.unit, prices.shift),
            rows,
            found,
            cost.stride()[:2],
            rows.stride(0),
            (n, m),
            ROWS=_ROWS,
            BLOCK_N=_HEIGHT,
            BLOCK_M=_WIDTH,
            num_warps=4,
            enable_fp_fusion=True,
        )
    return found.logsumexp(1)
