"""The kernel of a small problem in the registers of one program, and the passes over it.

    sum_i = exp(rows_i − base_i) Σ_j K_ij v_j,   v_j = exp(columns_j − base_j),
    K_ij = exp(base_i + base_j − unit (cost_ij − shift))

K is evaluated at potentials whose columns are the present ones and whose rows are such that its largest entry of a row
is 1: exponents are then formed without rounding (`exponents`), and no row leaves the range of the type, however far it
is from its optimum. Sums are those of K with its rows and columns scaled, no exponential an entry, until a potential
is so far from the base's that entries that vanished might count; K is then evaluated anew.
"""
# Kernels are programs of another language in Python's clothes.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from typing import no_type_check

import triton
import triton.language as tl

from partialot.kernels.triton.exponents import (
    INFINITY,
    LN_2,
    LOG2_E,
    exponents,
    finite_size,
    grid_for,
    log_of_sum,
    moves,
    power,
    split,
)

REACH = tl.constexpr(4.0)
"""How far, in natural logarithms, potentials go from the base: rounding of exponents stays below 1e-6 by it."""


@triton.jit
@no_type_check
def _tile(cost_ptr, strides, row_ptr, column_ptr, factor_ptrs, scales, i, j, size, WORK: tl.constexpr):
    """Give the exponents of the problem at some potentials."""
    n, m = size
    unit, shift = scales
    log_unit, per_unit = unit * LOG2_E, 1.0 / unit
    rows = tl.load(row_ptr + i, mask=i < n, other=-INFINITY) * per_unit + shift
    columns = tl.load(column_ptr + j, mask=j < m, other=-INFINITY) * per_unit
    grid = grid_for(tl.maximum(tl.max(finite_size(columns), 0), tl.max(finite_size(rows), 0)), WORK)
    # Through memory every thread gets those of its entries; each would compute them for itself.
    high, low = split(rows, grid, log_unit, WORK)
    tl.store(factor_ptrs[0] + i, high)
    tl.store(factor_ptrs[1] + i, low)
    high, low = split(columns, grid, log_unit, WORK)
    tl.store(factor_ptrs[2] + j, high)
    tl.store(factor_ptrs[3] + j, low)
    # What the program wrote is read by other threads of it, here and below.
    tl.debug_barrier()
    inside = (i < n)[:, None] & (j < m)[None, :]
    cost = tl.load(cost_ptr + i[:, None] * strides[0] + j[None, :] * strides[1], mask=inside, other=0.0).to(WORK)
    rows, columns = tl.load(factor_ptrs[0] + i), tl.load(factor_ptrs[2] + j)
    low_rows, low_columns = tl.load(factor_ptrs[1] + i), tl.load(factor_ptrs[3] + j)
    return exponents(cost, rows, low_rows, columns, low_columns, log_unit.to(WORK))


@triton.jit
@no_type_check
def evaluate(cost_ptr, strides, f_ptr, columns_ptr, base_ptrs, factor_ptrs, scales, i, j, size, WORK: tl.constexpr):
    """Give the kernel at a new base, which is written down."""
    n, m = size
    logs = _tile(cost_ptr, strides, f_ptr, columns_ptr, factor_ptrs, scales, i, j, size, WORK)
    tl.debug_barrier()
    tl.store(factor_ptrs[0] + i, tl.max(logs, axis=1))
    tl.debug_barrier()
    most = tl.load(factor_ptrs[0] + i)
    most = tl.where(most > -INFINITY, most, 0.0).to(tl.float64) * LN_2
    tl.store(base_ptrs[0] + i, tl.load(f_ptr + i, mask=i < n, other=0.0) - most, mask=i < n)
    tl.store(base_ptrs[1] + j, tl.load(columns_ptr + j, mask=j < m, other=0.0), mask=j < m)
    tl.debug_barrier()
    logs = _tile(cost_ptr, strides, base_ptrs[0], columns_ptr, factor_ptrs, scales, i, j, size, WORK)
    tl.debug_barrier()
    return tl.exp2(logs)


@triton.jit
@no_type_check
def resident_pass(
    kernel,
    f_ptr,
    given_ptrs,
    log_a_ptr,
    found_ptrs,
    base_ptrs,
    factor_ptrs,
    omega,
    i,
    j,
    size,
    WORK: tl.constexpr,
    WILD: tl.constexpr,
    SMALL: tl.constexpr,
):
    """Make a pass by a kernel at its base; see `rows`."""
    n, m = size
    columns = tl.load(given_ptrs[0] + j, mask=j < m, other=-INFINITY)
    away = columns - tl.load(base_ptrs[1] + j, mask=j < m, other=0.0)
    scale = tl.where(columns > -INFINITY, tl.exp2(tl.where(columns > -INFINITY, away, 0.0) * LOG2_E), 0.0)
    tl.store(factor_ptrs[2] + j, scale.to(WORK))
    tl.debug_barrier()
    sums = tl.sum(kernel * tl.load(factor_ptrs[2] + j)[None, :], axis=1)
    tl.store(factor_ptrs[0] + i, sums)
    tl.debug_barrier()
    rise = (tl.load(f_ptr + i, mask=i < n, other=0.0) - tl.load(base_ptrs[0] + i, mask=i < n, other=0.0)) * LOG2_E
    log_sum = tl.log2(tl.load(factor_ptrs[0] + i).to(tl.float64)) + rise
    log_total = log_of_sum(log_sum, tl.load(given_ptrs[1] + i, mask=i < n, other=-INFINITY) * LOG2_E)
    room = tl.full(i.shape, INFINITY, tl.float64)
    moved = moves(log_total, omega, room, WORK, WILD, SMALL)
    tl.store(found_ptrs[0] + i, log_total * LN_2, mask=i < n)
    tl.store(found_ptrs[1] + i, tl.exp2(log_sum - tl.maximum(log_total, -1e300)), mask=i < n)
    tl.store(found_ptrs[2] + i, moved, mask=i < n)
    log_weight = tl.load(log_a_ptr + i, mask=i < n, other=-INFINITY) + moved
    # All threads have read the sums.
    tl.debug_barrier()
    tl.store(factor_ptrs[0] + i, power(log_weight * LOG2_E + rise, WORK))
    tl.debug_barrier()
    sums = tl.sum(kernel * tl.load(factor_ptrs[0] + i)[:, None], axis=0)
    scale = tl.load(factor_ptrs[2] + j)
    tl.store(found_ptrs[3] + j, sums.to(tl.float64) * scale.to(tl.float64), mask=j < m)
