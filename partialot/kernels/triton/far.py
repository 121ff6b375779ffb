"""Rows whose sums leave the range of their type.

A pass leaves such rows out and takes them again from the cache, one by one, the largest term divided out of each.
"""
# Kernels are programs of another language in Python's clothes.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from typing import no_type_check

import triton
import triton.language as tl

from partialot.kernels.triton.exponents import INFINITY, LN_2, LOG2_E, log_of_sum, moves, power, split


@triton.jit
@no_type_check
def far_rows(
    sums,
    cost_ptr,
    vectors,
    found,
    ends,
    stride_row,
    m,
    columns,
    scales,
    HAS_CEILING: tl.constexpr,
    WORK: tl.constexpr,
    WILD: tl.constexpr,
    SMALL: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    """Take the rows that were left out one by one, the largest term divided out; give the sums over columns."""
    rows_ptr, edge_ptr, weight_ptr, ceiling_ptr = vectors
    total_ptr, fraction_ptr, moved_ptr = found
    high_columns, low_columns = columns
    grid, log_unit, per_unit, shift, omega = scales
    j = tl.arange(0, BLOCK_M)
    for i in tl.range(ends[0], ends[1]):
        if tl.load(total_ptr + i) != tl.load(total_ptr + i):
            place, edge = tl.load(rows_ptr + i), tl.load(edge_ptr + i) * LOG2_E
            high, low = split(place * per_unit + shift, grid, log_unit, WORK)
            cost = tl.load(cost_ptr + tl.cast(i, tl.int64) * stride_row + j, mask=j < m, other=0.0).to(WORK)
            logs = tl.fma((high + high_columns) - cost, log_unit.to(WORK), low + low_columns)
            most = tl.max(logs, 0)
            most = tl.where(most > -INFINITY, most, 0.0)
            entries = tl.exp2(logs - most)
            log_sum = tl.log2(tl.sum(entries, 0)).to(tl.float64) + most.to(tl.float64)
            log_total = log_of_sum(log_sum, edge)
            room = tl.full((), INFINITY, tl.float64)
            if HAS_CEILING:
                room = tl.load(ceiling_ptr + i) - place
            moved = moves(log_total, omega, room, WORK, WILD, SMALL)
            sums += power((tl.load(weight_ptr + i) + moved) * LOG2_E + most.to(tl.float64), WORK) * entries
            tl.store(total_ptr + i, log_total * LN_2)
            tl.store(fraction_ptr + i, tl.exp2(log_sum - tl.maximum(log_total, -1e300)))
            tl.store(moved_ptr + i, moved)
    return sums
