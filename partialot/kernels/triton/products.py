"""Products with a Gibbs kernel that is stored nowhere: one read of the costs and one exponential an entry.

    y = K x,   z = Kᵀ (scale ∘ y + offset),   K_ij = exp(rows_i + columns_j − unit (cost_ij − shift))

Definition: `partialot.kernels.reference.evaluated_sandwich`. The skeleton is that of the pass over rows: a tile's
entries stay in registers between the two products. Rests of the columns' potentials are factors of x and z, so that no
vector is kept more than there.
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
from partialot.kernels.triton.exponents import INFINITY, LOG2_E, finite_size, grid_for, largest_place, split
from partialot.kernels.triton.launching import MOST_PLACES, Cut, Work, with_unit_stride
from partialot.kernels.triton.merging import merge

_COST = tl.constexpr(int(Source.COST))


@triton.jit(do_not_specialize=["rows_of_program", "programs"])
@no_type_check
def _evaluated_sandwich(
    cost_ptr,
    source_ptr,
    scale_ptrs,
    side_ptrs,
    x_ptr,
    vector_ptrs,
    y_ptr,
    partial_ptr,
    cost_strides,
    size,
    rows_of_program,
    programs,
    WORK: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_M: tl.constexpr,
    ROWS: tl.constexpr,
    NUM_STAGES: tl.constexpr,
):
    program = tl.program_id(0).to(tl.int64)
    problem = program // programs
    if tl.load(source_ptr + problem) != _COST:
        return
    n, m = size
    first = (program % programs).to(tl.int32) * rows_of_program
    last = tl.minimum(first + rows_of_program, n)
    unit, shift = tl.load(scale_ptrs[0] + problem), tl.load(scale_ptrs[1] + problem)
    log_unit, per_unit = unit * LOG2_E, 1.0 / unit
    # int64: the matrices of a batch pass 2^31 entries.
    cost_ptr += problem * cost_strides[0]
    rows_ptr, scale_ptr, offset_ptr = (
        side_ptrs[0] + problem * n,
        vector_ptrs[0] + problem * n,
        vector_ptrs[1] + problem * n,
    )

    j = tl.arange(0, BLOCK_M)
    columns = tl.load(side_ptrs[1] + problem * m + j, mask=j < m, other=-INFINITY) * per_unit
    largest = largest_place(rows_ptr, first, last, per_unit, shift, ROWS)
    grid = grid_for(tl.maximum(tl.max(finite_size(columns), 0), largest), WORK)
    high_columns, low_columns = split(columns, grid, log_unit, WORK)
    x = tl.load(x_ptr + problem * m + j, mask=j < m, other=0.0).to(WORK) * tl.exp2(low_columns)

    sums = tl.zeros((BLOCK_N, BLOCK_M), dtype=WORK)
    for start in tl.range(first, last, BLOCK_N, num_stages=NUM_STAGES):
        i = start + tl.arange(0, BLOCK_N)
        inside = i < last
        tile = cost_ptr + i.to(tl.int64)[:, None] * cost_strides[1] + j[None, :]
        cost = tl.load(tile, mask=inside[:, None] & (j < m)[None, :], other=0.0).to(WORK)
        place = tl.load(rows_ptr + i, mask=inside, other=-INFINITY)
        high, low = split(place * per_unit + shift, grid, log_unit, WORK)
        coarse = (high[:, None] + high_columns[None, :]) - cost
        entries = tl.exp2(tl.fma(coarse, log_unit.to(WORK), low[:, None]))
        y = tl.sum(entries * x[None, :], axis=1).to(tl.float64)
        scale = tl.load(scale_ptr + i, mask=inside, other=0.0)
        left = scale * y + tl.load(offset_ptr + i, mask=inside, other=0.0)
        tl.store(y_ptr + problem * n + i, y, mask=inside)
        sums += left.to(WORK)[:, None] * entries
    # Taken anew: kept through the loop, they would be one vector too many for the registers.
    columns = tl.load(side_ptrs[1] + problem * m + j, mask=j < m, other=-INFINITY) * per_unit
    rest = split(columns, grid, log_unit, WORK)[1]
    tl.store(partial_ptr + program * m + j, tl.sum(sums, axis=0) * tl.exp2(rest), mask=j < m)


def evaluated_sandwich(entries: Entries, x: Tensor, scale: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """See `reference.evaluated_sandwich`."""
    cost, prices = with_unit_stride(entries.prices.cost), entries.prices
    work = Work.of(cost)
    # Two products beside each other read the costs twice, as two passes over such long rows would.
    if cost.shape[-1] > work.widest:
        return reference.evaluated_sandwich(entries, x, scale, offset)
    batch, n, m = cost.shape
    cut = Cut.of(n, m, work)
    y, z = (torch.zeros(side.shape, dtype=side.dtype, device=side.device) for side in (offset, x))
    partial = torch.empty((batch, cut.programs, m), dtype=work.dtype, device=cost.device)
    if batch:
        with torch.cuda.device_of(cost):
            _evaluated_sandwich[(batch * cut.programs,)](
                cost,
                entries.source,
                (prices.unit, prices.shift),
                (entries.rows.contiguous(), entries.columns.contiguous()),
                x.contiguous(),
                (scale.contiguous(), offset.contiguous()),
                y,
                partial,
                cost.stride()[:2],
                (n, m),
                cut.rows,
                cut.programs,
                WORK=work.kind,
                BLOCK_N=cut.height,
                BLOCK_M=cut.width,
                ROWS=min(MOST_PLACES, triton.next_power_of_2(cut.rows)),
                NUM_STAGES=2,
                num_warps=cut.warps,
                enable_fp_fusion=True,
            )
    return y, merge(partial, entries.source, z)
