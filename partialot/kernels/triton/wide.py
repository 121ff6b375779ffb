"""The pass over rows too long for registers: two reads of the costs, the first for the rows and the second for columns.

    log_sum_i = log Σ_j entry_ij,   columns_j = Σ_i exp(log_weight_i + moved_i) · entry_ij

Definition: `partialot.kernels.reference.row_pass`. A program has some rows and some columns of one problem, and the
largest term is divided out of each of its sums over rows, so that no row has to be taken again.
"""
# Kernels are programs of another language in Python's clothes.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from partialot.kernels.primitives import Entries, RowSums, RowUpdate, Source
from partialot.kernels.reference import safe_relaxation
from partialot.kernels.triton.exponents import INFINITY, LN_2, LOG2_E, exponents, finite_size, grid_for, split
from partialot.kernels.triton.launching import Work, with_unit_stride
from partialot.kernels.triton.merging import merge

_COST = tl.constexpr(int(Source.COST))
BLOCK = 1024
"""Columns of a program."""
_ROWS, _HEIGHT = 128, 4
"""Rows of a program, and how many are taken at a time."""


@triton.jit
@no_type_check
def _sums(
    cost_ptr,
    source_ptr,
    scale_ptrs,
    rows_ptr,
    columns_ptr,
    found_ptr,
    cost_strides,
    vector_strides,
    size,
    OF_ROWS: tl.constexpr,
    WORK: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_M: tl.constexpr,
    NUM_STAGES: tl.constexpr,
):
    n, m = size
    parts, blocks = tl.cdiv(n, ROWS), tl.cdiv(m, BLOCK_M)
    program = tl.program_id(0).to(tl.int64)
    problem, part, block = program // (parts * blocks), program // blocks % parts, program % blocks
    if tl.load(source_ptr + problem) != _COST:
        return
    unit, shift = tl.load(scale_ptrs[0] + problem), tl.load(scale_ptrs[1] + problem)
    log_unit, per_unit = unit * LOG2_E, 1.0 / unit
    cost_ptr += problem * cost_strides[0]
    rows_ptr += problem * vector_strides[0]
    first = part * ROWS
    own, j = first + tl.arange(0, ROWS), block * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = tl.load(columns_ptr + problem * vector_strides[1] + j, mask=j < m, other=-INFINITY) * per_unit
    rows = tl.load(rows_ptr + own, mask=own < n, other=-INFINITY) * per_unit + shift
    grid = grid_for(tl.maximum(tl.max(finite_size(columns), 0), tl.max(finite_size(rows), 0)), WORK)
    high_columns, low_columns = split(columns, grid, log_unit, WORK)
    sums = tl.zeros((BLOCK_N, BLOCK_M), dtype=WORK)
    for start in tl.range(first, tl.minimum(first + ROWS, n), BLOCK_N, num_stages=NUM_STAGES):
        i = start + tl.arange(0, BLOCK_N)
        tile = cost_ptr + i[:, None] * cost_strides[1] + j[None, :]
        cost = tl.load(tile, mask=(i < n)[:, None] & (j < m)[None, :], other=0.0).to(WORK)
        place = tl.load(rows_ptr + i, mask=i < n, other=-INFINITY) * per_unit + shift
        high, low = split(place, grid, log_unit, WORK)
        logs = exponents(cost, high, low, high_columns, low_columns, log_unit.to(WORK))
        if OF_ROWS:
            most = tl.max(logs, axis=1)
            most = tl.where(most > -INFINITY, most, 0.0)
            total = tl.log2(tl.sum(tl.exp2(logs - most[:, None]), axis=1)).to(tl.float64) + most.to(tl.float64)
            tl.store(found_ptr + (problem * blocks + block) * n + i, total * LN_2, mask=i < n)
        else:
            sums += tl.exp2(logs)
    if not OF_ROWS:
        tl.store(found_ptr + (problem * parts + part) * m + j, tl.sum(sums, axis=0), mask=j < m)


def row_pass(entries: Entries, update: RowUpdate) -> RowSums:
    """See `reference.row_pass`; entries come from costs."""
    batch, n, m = entries.prices.cost.shape
    work = Work.of(entries.prices.cost)
    of_blocks = torch.empty((batch, -(-m // BLOCK), n), dtype=torch.float64, device=entries.rows.device)
    _launch(entries, entries.rows, of_blocks, work, of_rows=True)
    log_sum = of_blocks.logsumexp(1)
    log_total = torch.logaddexp(log_sum, update.edge)
    seen = log_total.isfinite()
    known = torch.where(seen, log_total, 0.0)
    omega = torch.where(known.abs() < work.wild / LOG2_E.value, update.relaxation.unsqueeze(-1), 1.0)
    moved = -safe_relaxation(known, omega) * known
    if update.ceiling is not None:
        moved = torch.minimum(moved, update.ceiling - entries.rows)
    moved = torch.where(seen, moved, 0.0)
    partial = torch.empty((batch, -(-n // _ROWS), m), dtype=work.dtype, device=log_sum.device)
    _launch(entries, entries.rows + update.log_weight + moved, partial, work, of_rows=False)
    return RowSums(log_total, (log_sum - known).exp(), moved, merge(partial))


def _launch(entries: Entries, rows: Tensor, found: Tensor, work: Work, *, of_rows: bool) -> None:
    prices, cost = entries.prices, with_unit_stride(entries.prices.cost)
    batch, n, m = cost.shape
    rows, columns = with_unit_stride(rows), with_unit_stride(entries.columns)
    programs = batch * -(-n // _ROWS) * -(-m // BLOCK)
    if not programs:
        return
    with torch.cuda.device_of(cost):
        _sums[(programs,)](
            cost,
            entries.source,
            (prices.unit, prices.shift),
            rows,
            columns,
            found,
            cost.stride()[:2],
            (rows.stride(0), columns.stride(0)),
            (n, m),
            OF_ROWS=of_rows,
            WORK=work.kind,
            ROWS=_ROWS,
            BLOCK_N=_HEIGHT,
            BLOCK_M=BLOCK,
            NUM_STAGES=3,
            num_warps=4,
            enable_fp_fusion=True,
        )
