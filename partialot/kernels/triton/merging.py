"""Merge sums that several programs took: in float64, in an order that depends on their number alone.

merged_j = Σ_k partial_kj, or with the size of each part beside it
"""
# Kernels are programs of another language in Python's clothes.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from partialot.kernels.primitives import Source
from partialot.kernels.triton.exponents import INFINITY

_NOTHING, _COST = tl.constexpr(int(Source.NOTHING)), tl.constexpr(int(Source.COST))
_PARTS, _COLUMNS = 32, 64
_ENTRIES = 256


@triton.jit
@no_type_check
def _merge(partial_ptr, source_ptr, merged_ptr, parts, m, PARTS: tl.constexpr, COLUMNS: tl.constexpr):
    # One dimension for both: a second has no more than 65535 programs, and columns may be millions.
    blocks, program = tl.cdiv(m, COLUMNS), tl.program_id(0)
    problem = (program // blocks).to(tl.int64)
    if source_ptr is not None and tl.load(source_ptr + problem) == _NOTHING:
        return
    j = program % blocks * COLUMNS + tl.arange(0, COLUMNS)
    partial_ptr += problem * parts * m
    total = tl.zeros((COLUMNS,), dtype=tl.float64)
    for start in tl.range(0, parts, PARTS):
        k = start + tl.arange(0, PARTS)
        tile = partial_ptr + k[:, None] * m + j[None, :]
        block = tl.load(tile, mask=(k < parts)[:, None] & (j < m)[None, :], other=0.0)
        total += tl.sum(block.to(tl.float64), axis=0)
    tl.store(merged_ptr + problem * m + j, total, mask=j < m)


def merge(partial: Tensor, source: Tensor | None = None, merged: Tensor | None = None) -> Tensor:
    """Sum (batch, parts, m) over the parts.

    Args:
        partial: What to sum.
        source: (batch,), one `Source` for each problem; those of nothing are left out.
        merged: (batch, m), where to write; None = a new tensor.
    """
    batch, parts, m = partial.shape
    if merged is None:
        merged = torch.empty((batch, m), dtype=torch.float64, device=partial.device)
    if merged.numel():
        with torch.cuda.device_of(partial):
            _merge[(batch * triton.cdiv(m, _COLUMNS),)](
                partial, source, merged, parts, m, PARTS=_PARTS, COLUMNS=_COLUMNS
            )
    return merged


@triton.jit(do_not_specialize=["parts", "n", "k", "total"])
@no_type_check
def _merge_scaled(
    found_ptr, anchor_ptr, weight_ptr, unit_ptr, source_ptr, merged_ptr, parts, n, k, total, BLOCK: tl.constexpr
):
    blocks = tl.cdiv(n * k, BLOCK)
    problem = (tl.program_id(0) // blocks).to(tl.int64)
    if tl.load(source_ptr + problem) != _COST:
        return
    at = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    i, c, inside = at // k, at % k, at < n * k
    anchor_ptr += problem * parts * n
    most = tl.full((BLOCK,), -INFINITY, dtype=tl.float32)
    for part in tl.range(0, parts):
        most = tl.maximum(most, tl.load(anchor_ptr + part * n + i, mask=inside, other=-INFINITY))
    base = tl.where(most > -INFINITY, most, 0.0)
    sums = tl.zeros((BLOCK,), dtype=tl.float64)
    for part in tl.range(0, parts):
        scale = tl.exp2(tl.load(anchor_ptr + part * n + i, mask=inside, other=-INFINITY) - base)
        place = (problem * parts + part) * n + i
        sums += (scale * tl.load(found_ptr + place * total + c, mask=inside, other=0.0)).to(tl.float64)
    weight = tl.load(weight_ptr + problem * n + i, mask=inside, other=0.0).to(tl.float64)
    if unit_ptr is not None:
        weight *= tl.load(unit_ptr + problem * total + c, mask=inside, other=0.0)
    tl.store(merged_ptr + problem * n * k + at, sums * weight * tl.exp2(base.to(tl.float64)), mask=inside)


def merge_scaled(
    partial: Tensor, anchor: Tensor, weight: Tensor, unit: Tensor | None, source: Tensor, merged: Tensor
) -> None:
    """Write Σ_p 2^anchor_pi · partial_pik · weight_i · unit_k, whatever the sizes of the parts.

    Args:
        partial: (batch, parts, n, columns), of which the first k are merged.
        anchor: (batch, parts, n), -inf where nothing was summed.
        weight: (batch, n).
        unit: (batch, columns), float64; None for 1.
        source: (batch,), one `Source` for each problem; only those from costs are merged.
        merged: (batch, n, k), float64.
    """
    batch, n, k = merged.shape
    _merge_scaled[(batch * triton.cdiv(n * k, _ENTRIES),)](
        partial, anchor, weight, unit, source, merged, partial.shape[1], n, k, partial.shape[-1], BLOCK=_ENTRIES
    )
