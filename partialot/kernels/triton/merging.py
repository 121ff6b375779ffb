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

_PARTS, _COLUMNS = 32, 64


@triton.jit
@no_type_check
def _merge(partial_ptr, merged_ptr, parts, m, PARTS: tl.constexpr, COLUMNS: tl.constexpr):
    problem = tl.program_id(0).to(tl.int64)
    j = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    partial_ptr += problem * parts * m
    total = tl.zeros((COLUMNS,), dtype=tl.float64)
    for start in tl.range(0, parts, PARTS):
        k = start + tl.arange(0, PARTS)
        tile = partial_ptr + k[:, None] * m + j[None, :]
        block = tl.load(tile, mask=(k < parts)[:, None] & (j < m)[None, :], other=0.0)
        total += tl.sum(block.to(tl.float64), axis=0)
    tl.store(merged_ptr + problem * m + j, total, mask=j < m)


def merge(partial: Tensor) -> Tensor:
    """Sum (batch, parts, m) over the parts."""
    batch, parts, m = partial.shape
    merged = torch.empty((batch, m), dtype=torch.float64, device=partial.device)
    if merged.numel():
        _merge[(batch, triton.cdiv(m, _COLUMNS))](partial, merged, parts, m, PARTS=_PARTS, COLUMNS=_COLUMNS)
    return merged
