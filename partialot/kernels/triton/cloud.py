"""The pass over rows of costs that are written out nowhere: the pairs are gone through twice.

    log_total_i = log(Σ_j entry_ij + exp(edge_i)),  moved_i = min(−ω log_total_i, ceiling_i − rows_i),
    columns_j = Σ_i exp(log_weight_i + moved_i) entry_ij

Definition: `partialot.kernels.reference.row_pass` on the costs that the points stand for. First the rows are summed,
then they are updated, then the columns are summed. Sums come with the largest terms divided out, so that none has to be
taken again, whatever the potentials.
"""
# Kernels are programs of another language in Python's clothes.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from partialot.kernels.points import CloudEntries
from partialot.kernels.primitives import RowSums, RowUpdate, Source
from partialot.kernels.triton.exponents import INFINITY, LN_2, LOG2_E, log_of_sum, moves
from partialot.kernels.triton.launching import with_unit_stride
from partialot.kernels.triton.pairs import LogSums
from partialot.kernels.triton.places import Side

_COST = tl.constexpr(int(Source.COST))
_BLOCK = 128
"""Rows or columns of a program that merges."""
_WILD, _SMALL = tl.constexpr(52.0), tl.constexpr(1e-4)
"""Beyond the former, as a logarithm to base 2, updates are exact, as they are for dense costs of float32."""


@triton.jit
@no_type_check
def _merged(found_ptr, parts, count, k, inside):
    """Give the logarithms of sums over parts, taken one after the other."""
    total = tl.full(k.shape, -INFINITY, dtype=tl.float64)
    for _ in tl.range(0, parts):
        total = log_of_sum(total, tl.load(found_ptr + k, mask=inside, other=-INFINITY))
        found_ptr += count
    return total


@triton.jit
@no_type_check
def _block(count, BLOCK: tl.constexpr):
    """Give the problem of a program and its points: a second dimension would have no more than 65535 programs."""
    blocks, program = tl.cdiv(count, BLOCK), tl.program_id(0)
    return (program // blocks).to(tl.int64), program % blocks * BLOCK + tl.arange(0, BLOCK)


@triton.jit(do_not_specialize=["parts", "n", "strides"])
@no_type_check
def _update_rows(
    found_ptr,
    source_ptr,
    omega_ptr,
    vector_ptrs,
    next_ptrs,
    strides,
    parts,
    n,
    HAS_CEILING: tl.constexpr,
    BLOCK: tl.constexpr,
):
    problem, i = _block(n, BLOCK)
    if tl.load(source_ptr + problem) != _COST:
        return
    inside = i < n
    log_sum = _merged(found_ptr + problem * parts * n, parts, n, i, inside)
    place = tl.load(vector_ptrs[0] + problem * strides[0] + i, mask=inside, other=-INFINITY)
    edge = tl.load(vector_ptrs[1] + problem * strides[1] + i, mask=inside, other=-INFINITY)
    weight = tl.load(vector_ptrs[2] + problem * strides[2] + i, mask=inside, other=-INFINITY)
    room = tl.full((BLOCK,), INFINITY, tl.float64)
    if HAS_CEILING:
        room = tl.load(vector_ptrs[3] + problem * strides[3] + i, mask=inside, other=INFINITY) - place
    log_total = log_of_sum(log_sum, edge * LOG2_E)
    moved = moves(log_total, tl.load(omega_ptr + problem), room, tl.float64, _WILD, _SMALL)
    seen = tl.where(tl.abs(log_total) < INFINITY, log_total, 0.0)
    at = problem * n + i
    tl.store(next_ptrs[0] + at, log_total * LN_2, mask=inside)
    tl.store(next_ptrs[1] + at, tl.exp2(log_sum - seen), mask=inside)
    tl.store(next_ptrs[2] + at, moved, mask=inside)
    tl.store(next_ptrs[3] + at, place + weight + moved, mask=inside)


@triton.jit(do_not_specialize=["parts", "count"])
@no_type_check
def _merge_logs(found_ptr, source_ptr, merged_ptr, parts, count, LOGS: tl.constexpr, BLOCK: tl.constexpr):
    problem, k = _block(count, BLOCK)
    if tl.load(source_ptr + problem) != _COST:
        return
    total = _merged(found_ptr + problem * parts * count, parts, count, k, k < count)
    tl.store(merged_ptr + problem * count + k, total * LN_2 if LOGS else tl.exp2(total), mask=k < count)


class CloudPass:
    """A pass that is made again and again into the same memory; problems without a source keep what is there.

    Attributes:
        found: What the last one found.
    """

    def __init__(self, entries: CloudEntries, update: RowUpdate) -> None:
        """Prepare it; see `reference.row_pass`.

        Args:
            entries: What has unit stride is read anew by every pass.
            update: Likewise.
        """
        self._source, self._omega, self._caps = entries.source, update.relaxation, update.ceiling is not None
        ceiling = entries.rows if update.ceiling is None else update.ceiling
        given = (entries.rows, update.edge, update.log_weight, ceiling)
        self._vectors = tuple(with_unit_stride(x) for x in given)
        (batch, n), m = entries.rows.shape, entries.columns.shape[1]
        totals, fractions, moved, rows = (entries.rows.new_empty((batch, n)) for _ in range(4))
        self.found, self._rows = RowSums(totals, fractions, moved, entries.rows.new_empty((batch, m))), rows
        columns = _of_columns(entries, entries.columns)
        self._of_rows = LogSums(_of_rows(entries, entries.rows), columns, entries)
        self._of_columns = LogSums(columns, _of_rows(entries, rows), entries)

    def make(self) -> RowSums:
        """Make the pass."""
        sums = self._of_rows.make()
        batch, parts, n = sums.shape
        if batch and n:
            with torch.cuda.device_of(sums):
                _update_rows[(batch * -(-n // _BLOCK),)](
                    sums,
                    self._source,
                    self._omega,
                    self._vectors,
                    (*self.found[:3], self._rows),
                    tuple(x.stride(0) for x in self._vectors),
                    parts,
                    n,
                    HAS_CEILING=self._caps,
                    BLOCK=_BLOCK,
                    num_warps=4,
                    enable_fp_fusion=True,
                )
        _merge(self._of_columns.make(), self._source, self.found.columns, logs=False)
        return self.found


def row_pass(entries: CloudEntries, update: RowUpdate) -> RowSums:
    """See `reference.row_pass`."""
    return CloudPass(entries, update).make()


def column_log_sums(entries: CloudEntries) -> Tensor:
    """See `reference.column_log_sums`; of `entries.columns` nothing is read."""
    columns = _of_columns(entries, torch.zeros_like(entries.columns))
    merged = torch.empty_like(entries.columns)
    _merge(LogSums(columns, _of_rows(entries, entries.rows), entries).make(), entries.source, merged, logs=True)
    return merged


def _merge(sums: Tensor, source: Tensor, merged: Tensor, *, logs: bool) -> None:
    """Merge what the parts found, or what it is the logarithm of."""
    batch, parts, m = sums.shape
    if merged.numel():
        with torch.cuda.device_of(merged):
            _merge_logs[(batch * -(-m // _BLOCK),)](
                sums,
                source,
                merged,
                parts,
                m,
                LOGS=logs,
                BLOCK=_BLOCK,
                num_warps=4,
                enable_fp_fusion=True,
            )


def _of_rows(entries: CloudEntries, potential: Tensor) -> Side:
    return Side(entries.points.x, entries.points.alone_x, potential)


def _of_columns(entries: CloudEntries, potential: Tensor) -> Side:
    return Side(entries.points.y, entries.points.alone_y, potential)
