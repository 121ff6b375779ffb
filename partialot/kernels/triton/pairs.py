"""Sums over pairs of points whose costs are evaluated on the way, the largest terms divided out.

    log_sum_i = log2 Σ_j exp(own_i + other_j − unit (cost_ij − shift))

Rows are summed over columns, and by the same kernels columns over rows. A program keeps some points of its own and goes
through a part of the others, so that small problems have programs enough; the parts are merged by who reads them, in
order. How a problem is cut depends on its size alone. No cost is ever written to memory.

What points add to their costs alone goes with the potentials, in float64, which are split so that their sum is exact;
only the rounding of products is left, relative to the size of points about their centre.
"""
# Kernels are programs of another language in Python's clothes.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from partialot.kernels.points import CHUNK, WHOLE, CloudEntries
from partialot.kernels.primitives import Source
from partialot.kernels.triton import tiles
from partialot.kernels.triton.exponents import INFINITY, LOG2_E
from partialot.kernels.triton.launching import Tiles
from partialot.kernels.triton.places import Side, places, room_for_places

_COST = tl.constexpr(int(Source.COST))


@triton.jit
@no_type_check
def _total(sums, scaled, weight):
    """Give the logarithms of sums from those of which the largest term was divided out."""
    return tl.log2(sums).to(tl.float64) + (scaled.to(tl.float64) + tl.log2(weight).to(tl.float64))


@triton.jit
@no_type_check
def _by_coordinates(
    own_ptr,
    other_ptr,
    own_ptrs,
    other_ptrs,
    scale_ptrs,
    source_ptr,
    found_ptr,
    batch_strides,
    size,
    part_of_program,
    parts,
    D: tl.constexpr,
    DISTANCES: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    n, m = size
    problem, i, first, last = tiles.part(size, part_of_program, parts, BLOCK_N)
    if tl.load(source_ptr + problem) != _COST:
        return
    unit = (tl.load(scale_ptrs[0] + problem) * LOG2_E).to(tl.float32)
    high = tl.load(own_ptrs[0] + problem * n + i, mask=i < n, other=-INFINITY)
    own_ptr += problem * batch_strides[0]
    other_ptr += problem * batch_strides[1]
    mine = tiles.coordinates(own_ptr, i, n, D)
    anchor = tl.full((BLOCK_N,), -INFINITY, dtype=tl.float32)
    scaled = tl.zeros((BLOCK_N,), dtype=tl.float32)
    sums = tl.zeros((BLOCK_N,), dtype=tl.float32)
    # The own points lie along the threads: each sums its own.
    for start in tl.range(first, last, BLOCK_M):
        j = start + tl.arange(0, BLOCK_M)
        high_other = tl.load(other_ptrs[0] + problem * m + j, mask=j < last, other=-INFINITY)
        weight = tl.load(other_ptrs[1] + problem * m + j, mask=j < last, other=0.0)
        product = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
        product = tiles.of_coordinates(mine, other_ptr, j, last, m, product, D, DISTANCES, 0)
        coarse = (high_other[:, None] + high[None, :]) + product
        anchor, scaled, entries, shrink = tiles.powers(coarse, anchor, scaled, unit, 0.0, 0)
        sums = sums * shrink + tl.sum(entries * weight[:, None], axis=0)
    total = _total(sums, scaled, tl.load(own_ptrs[1] + problem * n + i, mask=i < n, other=1.0))
    tl.store(found_ptr + (problem * parts + tl.program_id(0) % parts) * n + i, total, mask=i < n)


@triton.jit
@no_type_check
def _by_products(
    own_ptr,
    other_ptr,
    own_ptrs,
    other_ptrs,
    scale_ptrs,
    source_ptr,
    found_ptr,
    batch_strides,
    size,
    part_of_program,
    parts,
    WIDTH: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_M: tl.constexpr,
    NUM_STAGES: tl.constexpr,
):
    n, m = size
    problem, i, first, last = tiles.part(size, part_of_program, parts, BLOCK_N)
    if tl.load(source_ptr + problem) != _COST:
        return
    unit = (tl.load(scale_ptrs[0] + problem) * LOG2_E).to(tl.float32)
    factor, k = tl.load(scale_ptrs[1] + problem).to(tl.float32), tl.arange(0, BLOCK_K)
    high = tl.load(own_ptrs[0] + problem * n + i, mask=i < n, other=-INFINITY)
    # int64: halves of millions of points pass 2^31.
    mine_ptr = own_ptr + problem * batch_strides[0] + i.to(tl.int64)[:, None] * (2 * WIDTH) + k[None, :]
    other_ptr += problem * batch_strides[1]
    inside, mine = (i < n)[:, None], ()
    if BLOCK_K == WIDTH:
        mine = tiles.halves(mine_ptr, inside, WIDTH)
    anchor = tl.full((BLOCK_N,), -INFINITY, dtype=tl.float32)
    scaled = tl.zeros((BLOCK_N,), dtype=tl.float32)
    sums = tl.zeros((BLOCK_N,), dtype=tl.float32)
    for start in tl.range(first, last, BLOCK_M, num_stages=NUM_STAGES):
        j = start + tl.arange(0, BLOCK_M)
        theirs_ptr = other_ptr + j.to(tl.int64)[None, :] * (2 * WIDTH) + k[:, None]
        seen = (j < last)[None, :]
        product = tl.zeros((BLOCK_N, BLOCK_M), dtype=tl.float32)
        product = tiles.of_halves(mine_ptr, mine, theirs_ptr, inside, seen, product, WIDTH, BLOCK_K, NUM_STAGES)
        high_other = tl.load(other_ptrs[0] + problem * m + j, mask=j < last, other=-INFINITY)
        weight = tl.load(other_ptrs[1] + problem * m + j, mask=j < last, other=0.0)
        coarse = tl.fma(product, factor, high[:, None] + high_other[None, :])
        anchor, scaled, entries, shrink = tiles.powers(coarse, anchor, scaled, unit, 0.0, 1)
        sums = sums * shrink + tl.sum(entries * weight[None, :], axis=1)
    total = _total(sums, scaled, tl.load(own_ptrs[1] + problem * n + i, mask=i < n, other=1.0))
    tl.store(found_ptr + (problem * parts + tl.program_id(0) % parts) * n + i, total, mask=i < n)


class LogSums:
    """Sums of one side over parts of the other, taken again and again into the same memory.

    Attributes:
        found: (batch, parts, n), their logarithms to base 2, of none -inf. Problems without a source keep what is
            there.
    """

    def __init__(self, own: Side, other: Side, entries: CloudEntries) -> None:
        """Prepare them.

        Args:
            own: Whose sums they are. Potentials of unit stride are read anew every time.
            other: What is summed over, likewise.
            entries: Their unit, shift and source, and what the points are.
        """
        self._own, self._other, self._entries = own, other, entries
        (batch, n), m, points = own.alone.shape, other.alone.shape[1], entries.points
        self._width = own.points.shape[1] if points.narrow else own.points.shape[2] // 2
        self._deep = not points.narrow and self._width > WHOLE
        self._cut = Tiles.of(max(n, 1), max(m, 1), narrow=points.narrow, deep=self._deep)
        self._split = room_for_places(own, other)
        self.found = torch.empty((batch, self._cut.parts, n), dtype=torch.float64, device=own.alone.device)

    def make(self) -> Tensor:
        """Take them."""
        if not self.found.numel():
            return self.found
        own, other, entries, cut = self._own, self._other, self._entries, self._cut
        places(own, other, entries, self._split)
        batch, _, n = self.found.shape
        given = (
            own.points,
            other.points,
            *self._split,
            (entries.unit, entries.points.factor),
            entries.source,
            self.found,
            (own.points.stride(0), other.points.stride(0)),
            (n, other.alone.shape[1]),
            cut.part,
            cut.parts,
        )
        # Products are contracted where that is written: elsewhere roundings are to be the same at every mention.
        shape = {"BLOCK_N": cut.height, "BLOCK_M": cut.width, "num_warps": cut.warps, "enable_fp_fusion": False}
        grid = (batch * -(-n // cut.height) * cut.parts,)
        with torch.cuda.device_of(self.found):
            if entries.points.narrow:
                _by_coordinates[grid](*given, D=self._width, DISTANCES=entries.points.distances, **shape)
            else:
                chunk = CHUNK if self._deep else self._width
                stages = 2 if self._deep else 3
                _by_products[grid](*given, WIDTH=self._width, BLOCK_K=chunk, NUM_STAGES=stages, **shape)
        return self.found
