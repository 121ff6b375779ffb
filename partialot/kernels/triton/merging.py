"""Merge sums over columns that several programs took: in float64, in an order that depends on their number alone.

merged_j = Σ_k partial_kj
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

_NOTHING = tl.constexpr(int(Source.NOTHING))
_PARTS, _COLUMNS = 32, 64


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
