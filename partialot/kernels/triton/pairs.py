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
from partialot.kernels.triton.exponents import INFINITY, LOG2_E
from partialot.kernels.triton.launching import Tiles
from partialot.kernels.triton.places import Side, places, room_for_places

_COST = tl.constexpr(int(Source.COST))


@triton.jit
@no_type_check
def _take(coarse, weight, anchor, scaled, sums, log_unit, AXIS: tl.constexpr):
    """Add a tile's entries, the largest exponent so far divided out of all."""
    before, anchor = anchor, tl.maximum(anchor, tl.max(coarse, axis=AXIS))
    now = tl.where(anchor > -INFINITY, anchor, 0.0) * log_unit
    entries = tl.exp2(tl.fma(coarse, log_unit, -tl.expand_dims(now, AXIS))) * tl.expand_dims(weight, 1 - AXIS)
    # Nothing was summed before an anchor that falls. Where it stays, so do the sums: contracted with the product, the
    # difference is the product's rounding, by which every tile would shrink them again.
    fall = tl.where(anchor > before, tl.minimum(scaled - now, 0.0), 0.0)
    sums = sums * tl.exp2(fall) + tl.sum(entries, axis=AXIS)
    return anchor, now, sums


@triton.jit
@no_type_check
def _part(size, part_of_program, parts, BLOCK_N: tl.constexpr):
    """Give the problem of a program, its points, and where its part of the others begins and ends."""
    blocks, program = tl.cdiv(size[0], BLOCK_N), tl.program_id(0)
    i = (program // parts % blocks) * BLOCK_N + tl.arange(0, BLOCK_N)
    first = program % parts * part_of_program
    return (program // (parts * blocks)).to(tl.int64), i, first, tl.minimum(first + part_of_program, size[1])


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
    problem, i, first, last = _part(size, part_of_program, parts, BLOCK_N)
    if tl.load(source_ptr + problem) != _COST:
        return
    unit = (tl.load(scale_ptrs[0] + problem) * LOG2_E).to(tl.float32)
    high = tl.load(own_ptrs[0] + problem * n + i, mask=i < n, other=-INFINITY)
    own_ptr += problem * batch_strides[0]
    other_ptr += problem * batch_strides[1]
    mine = ()
    for k in tl.static_range(D):
        mine = mine + (tl.load(own_ptr + k * n + i, mask=i < n, other=0.0),)  # noqa: RUF005
    anchor = tl.full((BLOCK_N,), -INFINITY, dtype=tl.float32)
    scaled = tl.zeros((BLOCK_N,), dtype=tl.float32)
    sums = tl.zeros((BLOCK_N,), dtype=tl.float32)
    # The own points lie along the threads: each sums its own.
    for start in tl.range(first, last, BLOCK_M):
        j = start + tl.arange(0, BLOCK_M)
        high_other = tl.load(other_ptrs[0] + problem * m + j, mask=j < last, other=-INFINITY)
        weight = tl.load(other_ptrs[1] + problem * m + j, mask=j < last, other=0.0)
        product = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
        for k in tl.static_range(D):
            theirs = tl.load(other_ptr + k * m + j, mask=j < last, other=0.0)
            if DISTANCES:
                gap = theirs[:, None] - mine[k][None, :]
                product = tl.fma(-gap, gap, product)
            else:
                product = tl.fma(theirs[:, None], mine[k][None, :], product)
        coarse = (high_other[:, None] + high[None, :]) + product
        anchor, scaled, sums = _take(coarse, weight, anchor, scaled, sums, unit, 0)
    total = _total(sums, scaled, tl.load(own_ptrs[1] + problem * n + i, mask=i < n, other=1.0))
    tl.store(found_ptr + (problem * parts + tl.program_id(0) % parts) * n + i, total, mask=i < n)


@triton.jit
@no_type_check
def _products(near_own, rest_own, near_other, rest_other, product):
    """Add products of numbers in two parts, the smallest first."""
    product = tl.dot(rest_own, near_other, product)
    product = tl.dot(near_own, rest_other, product)
    return tl.dot(near_own, near_other, product)


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
    problem, i, first, last = _part(size, part_of_program, parts, BLOCK_N)
    if tl.load(source_ptr + problem) != _COST:
        return
    unit = (tl.load(scale_ptrs[0] + problem) * LOG2_E).to(tl.float32)
    factor, k = tl.load(scale_ptrs[1] + problem).to(tl.float32), tl.arange(0, BLOCK_K)
    high = tl.load(own_ptrs[0] + problem * n + i, mask=i < n, other=-INFINITY)
    # int64: halves of millions of points pass 2^31.
    mine_ptr = own_ptr + problem * batch_strides[0] + i.to(tl.int64)[:, None] * (2 * WIDTH) + k[None, :]
    other_ptr += problem * batch_strides[1]
    inside = (i < n)[:, None]
    if BLOCK_K == WIDTH:
        near = tl.load(mine_ptr, mask=inside, other=0.0)
        rest = tl.load(mine_ptr + WIDTH, mask=inside, other=0.0)
    anchor = tl.full((BLOCK_N,), -INFINITY, dtype=tl.float32)
    scaled = tl.zeros((BLOCK_N,), dtype=tl.float32)
    sums = tl.zeros((BLOCK_N,), dtype=tl.float32)
    for start in tl.range(first, last, BLOCK_M, num_stages=NUM_STAGES):
        j = start + tl.arange(0, BLOCK_M)
        theirs_ptr = other_ptr + j.to(tl.int64)[None, :] * (2 * WIDTH) + k[:, None]
        seen = (j < last)[None, :]
        product = tl.zeros((BLOCK_N, BLOCK_M), dtype=tl.float32)
        if BLOCK_K == WIDTH:
            theirs = tl.load(theirs_ptr, mask=seen, other=0.0), tl.load(theirs_ptr + WIDTH, mask=seen, other=0.0)
            product = _products(near, rest, theirs[0], theirs[1], product)
        else:
            for c in tl.range(0, WIDTH, BLOCK_K, num_stages=NUM_STAGES):
                mine = (
                    tl.load(mine_ptr + c, mask=inside, other=0.0),
                    tl.load(mine_ptr + WIDTH + c, mask=inside, other=0.0),
                )
                theirs = (
                    tl.load(theirs_ptr + c, mask=seen, other=0.0),
                    tl.load(theirs_ptr + WIDTH + c, mask=seen, other=0.0),
                )
                product = _products(mine[0], mine[1], theirs[0], theirs[1], product)
        high_other = tl.load(other_ptrs[0] + problem * m + j, mask=j < last, other=-INFINITY)
        weight = tl.load(other_ptrs[1] + problem * m + j, mask=j < last, other=0.0)
        coarse = tl.fma(product, factor, high[:, None] + high_other[None, :])
        anchor, scaled, sums = _take(coarse, weight, anchor, scaled, sums, unit, 1)
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
        self._tiles = Tiles.of(max(n, 1), max(m, 1), narrow=points.narrow, deep=self._deep)
        self._split = room_for_places(own, other)
        self.found = torch.empty((batch, self._tiles.parts, n), dtype=torch.float64, device=own.alone.device)

    def make(self) -> Tensor:
        """Take them."""
        if not self.found.numel():
            return self.found
        own, other, entries, tiles = self._own, self._other, self._entries, self._tiles
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
            tiles.part,
            tiles.parts,
        )
        # Products are contracted where that is written: elsewhere roundings are to be the same at every mention.
        shape = {"BLOCK_N": tiles.height, "BLOCK_M": tiles.width, "num_warps": tiles.warps, "enable_fp_fusion": False}
        grid = (batch * -(-n // tiles.height) * tiles.parts,)
        with torch.cuda.device_of(self.found):
            if entries.points.narrow:
                _by_coordinates[grid](*given, D=self._width, DISTANCES=entries.points.distances, **shape)
            else:
                chunk = CHUNK if self._deep else self._width
                stages = 2 if self._deep else 3
                _by_products[grid](*given, WIDTH=self._width, BLOCK_K=chunk, NUM_STAGES=stages, **shape)
        return self.found
