"""The pass over rows: one read of the costs and one exponential an entry.

    log_total_i = log(Σ_j entry_ij + exp(edge_i)),  moved_i = min(−ω log_total_i, ceiling_i − rows_i),
    columns_j = Σ_i exp(log_weight_i + moved_i) entry_ij,  entry_ij = exp(rows_i + columns_j − unit (cost_ij − shift))

Definition: `partialot.kernels.reference.row_pass`. A program has some rows of one problem, whole ones, tile by tile: a
tile's entries stay in registers until its rows' sums are known, then go into the program's sums over columns, and those
of all programs are merged in a fixed order. How a problem is cut depends on its size alone, so its numbers depend
neither on the batch nor on the device. Rows whose sum leaves the range of the type are taken again from the cache, the
largest term divided out.
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
from partialot.kernels.triton.exponents import (
    INFINITY,
    LN_2,
    LOG2_E,
    exponents,
    finite_size,
    grid_for,
    largest_place,
    moves,
    power,
    split,
)
from partialot.kernels.triton.far import far_rows
from partialot.kernels.triton.launching import MOST_PLACES, Cut, Work, with_unit_stride
from partialot.kernels.triton.merging import merge

_COST = tl.constexpr(int(Source.COST))


# Of the whole numbers only sizes and the matrices' strides are worth a kernel of their own for what divides them.
@triton.jit(do_not_specialize=["columns_stride", "vector_strides", "rows_of_program", "programs"])
@no_type_check
def _row_pass(
    cost_ptr,
    source_ptr,
    scale_ptrs,
    columns_ptr,
    vector_ptrs,
    found_ptrs,
    partial_ptr,
    cost_strides,
    columns_stride,
    vector_strides,
    size,
    rows_of_program,
    programs,
    HAS_CEILING: tl.constexpr,
    WORK: tl.constexpr,
    WILD: tl.constexpr,
    SMALL: tl.constexpr,
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
    omega = tl.load(scale_ptrs[2] + problem).to(WORK)
    log_unit, per_unit = unit * LOG2_E, 1.0 / unit
    # int64: the matrices of a batch pass 2^31 entries.
    cost_ptr += problem * cost_strides[0]
    rows_ptr = vector_ptrs[0] + problem * vector_strides[0]
    edge_ptr = vector_ptrs[1] + problem * vector_strides[1]
    weight_ptr = vector_ptrs[2] + problem * vector_strides[2]
    ceiling_ptr = vector_ptrs[3] + problem * vector_strides[3]
    total_ptr, fraction_ptr, moved_ptr = (
        found_ptrs[0] + problem * n,
        found_ptrs[1] + problem * n,
        found_ptrs[2] + problem * n,
    )

    j = tl.arange(0, BLOCK_M)
    columns = tl.load(columns_ptr + problem * columns_stride + j, mask=j < m, other=-INFINITY) * per_unit
    largest = largest_place(rows_ptr, first, last, per_unit, shift, ROWS)
    grid = grid_for(tl.maximum(tl.max(finite_size(columns), 0), largest), WORK)
    high_columns, low_columns = split(columns, grid, log_unit, WORK)

    sums = tl.zeros((BLOCK_N, BLOCK_M), dtype=WORK)
    far = 0
    for start in tl.range(first, last, BLOCK_N, num_stages=NUM_STAGES):
        i = start + tl.arange(0, BLOCK_N)
        inside = i < last
        tile = cost_ptr + i.to(tl.int64)[:, None] * cost_strides[1] + j[None, :]
        cost = tl.load(tile, mask=inside[:, None] & (j < m)[None, :], other=0.0).to(WORK)
        place = tl.load(rows_ptr + i, mask=inside, other=-INFINITY)
        edge = tl.load(edge_ptr + i, mask=inside, other=-INFINITY)
        weight = tl.load(weight_ptr + i, mask=inside, other=-INFINITY)
        high, low = split(place * per_unit + shift, grid, log_unit, WORK)
        entries = tl.exp2(exponents(cost, high, low, high_columns, low_columns, log_unit.to(WORK)))
        real = tl.sum(entries, axis=1)
        total = real + power(edge * LOG2_E, WORK)
        log_total = tl.log2(total).to(tl.float64)
        wild = tl.max((inside & ~(tl.abs(log_total) < WILD)).to(tl.int32), 0)
        far += wild
        room = tl.full((BLOCK_N,), INFINITY, tl.float64)
        if HAS_CEILING:
            room = tl.load(ceiling_ptr + i, mask=inside, other=INFINITY) - place
        moved = moves(log_total, omega, room, WORK, WILD, SMALL)
        # No number marks the rows of a tile that is left out, lest an infinite entry of it spoil the sums.
        tl.store(total_ptr + i, tl.where(wild > 0, float("nan"), log_total * LN_2), mask=inside)
        tl.store(fraction_ptr + i, (real / total).to(tl.float64), mask=inside)
        tl.store(moved_ptr + i, moved, mask=inside)
        if wild == 0:
            sums += power((weight + moved) * LOG2_E, WORK)[:, None] * entries
    merged = tl.sum(sums, axis=0)
    if far > 0:
        # What the program wrote is read by other threads of it.
        tl.debug_barrier()
        vectors, found = (rows_ptr, edge_ptr, weight_ptr, ceiling_ptr), (total_ptr, fraction_ptr, moved_ptr)
        scales, place = (grid, log_unit, per_unit, shift, omega), (high_columns, low_columns)
        merged = far_rows(
            merged,
            cost_ptr,
            vectors,
            found,
            (first, last),
            cost_strides[1],
            m,
            place,
            scales,
            HAS_CEILING,
            WORK,
            WILD,
            SMALL,
            BLOCK_M,
        )
    tl.store(partial_ptr + program * m + j, merged, mask=j < m)


def fits(cost: Tensor) -> bool:
    """Tell whether rows are short enough."""
    return cost.shape[-1] <= Work.of(cost).widest


class RowPass:
    """A pass that is made again and again into the same memory; problems without a source keep what is there.

    Attributes:
        found: What the last one found.
    """

    def __init__(self, entries: Entries, update: RowUpdate) -> None:
        """Prepare it; see `reference.row_pass`.

        Args:
            entries: From costs, whose rows are short enough (`fits`). What has unit stride is read anew by every pass.
            update: Likewise.
        """
        self._prices, self._source, self._update = entries.prices, entries.source, update
        self._cost, self._columns = with_unit_stride(entries.prices.cost), with_unit_stride(entries.columns)
        batch, n, m = self._cost.shape
        self._work = Work.of(self._cost)
        self._cut = Cut.of(n, m, self._work)
        ceiling = entries.rows if update.ceiling is None else update.ceiling
        given = (entries.rows, update.edge, update.log_weight, ceiling)
        self._vectors = tuple(with_unit_stride(x) for x in given)
        device = self._cost.device
        of_rows = (torch.empty((batch, n), dtype=torch.float64, device=device) for _ in range(3))
        self.found = RowSums(*of_rows, torch.empty((batch, m), dtype=torch.float64, device=device))
        self._partial = torch.empty((batch, self._cut.programs, m), dtype=self._work.dtype, device=device)

    def make(self) -> RowSums:
        """Make the pass."""
        cut, work, cost = self._cut, self._work, self._cost
        batch, n, m = cost.shape
        if batch:
            with torch.cuda.device_of(cost):
                _row_pass[(batch * cut.programs,)](
                    cost,
                    self._source,
                    (self._prices.unit, self._prices.shift, self._update.relaxation),
                    self._columns,
                    self._vectors,
                    tuple(self.found[:3]),
                    self._partial,
                    cost.stride()[:2],
                    self._columns.stride(0),
                    tuple(x.stride(0) for x in self._vectors),
                    (n, m),
                    cut.rows,
                    cut.programs,
                    HAS_CEILING=self._update.ceiling is not None,
                    WORK=work.kind,
                    WILD=work.wild,
                    SMALL=work.small,
                    BLOCK_N=cut.height,
                    BLOCK_M=cut.width,
                    ROWS=min(MOST_PLACES, triton.next_power_of_2(cut.rows)),
                    NUM_STAGES=2,
                    num_warps=cut.warps,
                    enable_fp_fusion=True,
                )
        merge(self._partial, self._source, self.found.columns)
        return self.found


def row_pass(entries: Entries, update: RowUpdate) -> RowSums:
    """See `reference.row_pass`; entries come from costs, and rows are short enough (`fits`)."""
    return RowPass(entries, update).make()
