"""Gibbs kernels written out, and products with matrices that are: one read, and one write or none.

    stored_ij = exp(rows_i + columns_j − unit (cost_ij − shift)), or stored_ij · exp(rows_i + columns_j)
    y = K x,   z = Kᵀ (scale ∘ y + offset)

Definitions: `partialot.kernels.reference.write_out` and `sandwich`. The latter has the skeleton of the pass over rows:
a tile stays in registers between the two products.
"""
# Kernels are programs of another language in Python's clothes.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from partialot.kernels import reference
from partialot.kernels.primitives import Entries, Source
from partialot.kernels.triton.exponents import INFINITY, LOG2_E, exponents, finite_size, grid_for, power, split
from partialot.kernels.triton.launching import Cut, Work, with_unit_stride
from partialot.kernels.triton.merging import merge

_COST, _NOTHING = tl.constexpr(int(Source.COST)), tl.constexpr(int(Source.NOTHING))
_HEIGHT, _WIDTH = 16, 256
"""The tile of a program that writes a matrix out."""


@triton.jit
@no_type_check
def _write_out(
    cost_ptr,
    stored_ptr,
    source_ptr,
    scale_ptrs,
    rows_ptr,
    columns_ptr,
    cost_strides,
    vector_strides,
    size,
    WORK: tl.constexpr,
    TINY: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    n, m = size
    blocks = tl.cdiv(m, BLOCK_M)
    tiles = tl.cdiv(n, BLOCK_N) * blocks
    program = tl.program_id(0).to(tl.int64)
    problem = program // tiles
    source = tl.load(source_ptr + problem)
    if source == _NOTHING:
        return
    i = program % tiles // blocks * BLOCK_N + tl.arange(0, BLOCK_N)
    j = program % blocks * BLOCK_M + tl.arange(0, BLOCK_M)
    inside = (i < n)[:, None] & (j < m)[None, :]
    rows = tl.load(rows_ptr + problem * vector_strides[0] + i, mask=i < n, other=-INFINITY)
    columns = tl.load(columns_ptr + problem * vector_strides[1] + j, mask=j < m, other=-INFINITY)
    target = stored_ptr + problem * n * m + i[:, None] * m + j[None, :]
    if source == _COST:
        unit, shift = tl.load(scale_ptrs[0] + problem), tl.load(scale_ptrs[1] + problem)
        rows, columns = rows / unit + shift, columns / unit
        grid = grid_for(tl.maximum(tl.max(finite_size(columns), 0), tl.max(finite_size(rows), 0)), WORK)
        high_rows, low_rows = split(rows, grid, unit * LOG2_E, WORK)
        high_columns, low_columns = split(columns, grid, unit * LOG2_E, WORK)
        place = cost_ptr + problem * cost_strides[0] + i[:, None] * cost_strides[1] + j[None, :]
        cost = tl.load(place, mask=inside, other=0.0).to(WORK)
        logs = exponents(cost, high_rows, low_rows, high_columns, low_columns, (unit * LOG2_E).to(WORK))
        entries = tl.exp2(logs)
    else:
        old = tl.load(target, mask=inside, other=0.0).to(WORK)
        entries = old * power(rows * LOG2_E, WORK)[:, None] * power(columns * LOG2_E, WORK)[None, :]
    # Numbers too small to be normal would be kept by some devices only.
    tl.store(target, tl.where(entries >= TINY, entries, 0.0), mask=inside)


@triton.jit(do_not_specialize=["rows_of_program", "programs"])
@no_type_check
def _sandwich(
    matrix_ptr,
    x_ptr,
    scale_ptr,
    offset_ptr,
    y_ptr,
    partial_ptr,
    matrix_strides,
    size,
    rows_of_program,
    programs,
    WORK: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_M: tl.constexpr,
    NUM_STAGES: tl.constexpr,
):
    n, m = size
    program = tl.program_id(0).to(tl.int64)
    problem = program // programs
    first = (program % programs).to(tl.int32) * rows_of_program
    last = tl.minimum(first + rows_of_program, n)
    matrix_ptr += problem * matrix_strides[0]
    j = tl.arange(0, BLOCK_M)
    x = tl.load(x_ptr + problem * m + j, mask=j < m, other=0.0).to(WORK)
    sums = tl.zeros((BLOCK_N, BLOCK_M), dtype=WORK)
    for start in tl.range(first, last, BLOCK_N, num_stages=NUM_STAGES):
        i = start + tl.arange(0, BLOCK_N)
        inside = i < last
        tile = matrix_ptr + i.to(tl.int64)[:, None] * matrix_strides[1] + j[None, :]
        matrix = tl.load(tile, mask=inside[:, None] & (j < m)[None, :], other=0.0).to(WORK)
        y = tl.sum(matrix * x[None, :], axis=1).to(tl.float64)
        scale = tl.load(scale_ptr + problem * n + i, mask=inside, other=0.0)
        left = scale * y + tl.load(offset_ptr + problem * n + i, mask=inside, other=0.0)
        tl.store(y_ptr + problem * n + i, y, mask=inside)
        sums += left.to(WORK)[:, None] * matrix
    tl.store(partial_ptr + program * m + j, tl.sum(sums, axis=0), mask=j < m)


def write_out(entries: Entries) -> None:
    """See `reference.write_out`."""
    prices, stored, cost = entries.prices, entries.stored, with_unit_stride(entries.prices.cost)
    # Written to: a copy for the call would lose what it finds.
    assert stored is not None
    assert stored.is_contiguous()
    batch, n, m = cost.shape
    work = Work.of(cost)
    rows, columns = with_unit_stride(entries.rows), with_unit_stride(entries.columns)
    programs = batch * -(-n // _HEIGHT) * -(-m // _WIDTH)
    if not programs:
        return
    with torch.cuda.device_of(cost):
        _write_out[(programs,)](
            cost,
            stored,
            entries.source,
            (prices.unit, prices.shift),
            rows,
            columns,
            cost.stride()[:2],
            (rows.stride(0), columns.stride(0)),
            (n, m),
            WORK=work.kind,
            TINY=torch.finfo(stored.dtype).tiny,
            BLOCK_N=_HEIGHT,
            BLOCK_M=_WIDTH,
            num_warps=4,
            enable_fp_fusion=True,
        )


def sandwich(matrix: Tensor, x: Tensor, scale: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """See `reference.sandwich`."""
    work = Work.of(matrix)
    # Two products beside each other read a matrix twice, as two passes over its long rows would.
    if matrix.shape[-1] > work.widest:
        return reference.sandwich(matrix, x, scale, offset)
    matrix = with_unit_stride(matrix)
    batch, n, m = matrix.shape
    cut = Cut.of(n, m, work)
    y = torch.empty((batch, n), dtype=torch.float64, device=matrix.device)
    partial = torch.empty((batch, cut.programs, m), dtype=work.dtype, device=matrix.device)
    if batch:
        with torch.cuda.device_of(matrix):
            _sandwich[(batch * cut.programs,)](
                matrix,
                x.contiguous(),
                scale.contiguous(),
                offset.contiguous(),
                y,
                partial,
                matrix.stride()[:2],
                (n, m),
                cut.rows,
                cut.programs,
                WORK=work.kind,
                BLOCK_N=cut.height,
                BLOCK_M=cut.width,
                NUM_STAGES=2,
                num_warps=cut.warps,
                enable_fp_fusion=True,
            )
    return y, merge(partial)
