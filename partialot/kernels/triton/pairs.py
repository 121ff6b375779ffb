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

from typing import NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from partialot.kernels.points import CHUNK, WHOLE, CloudEntries
from partialot.kernels.primitives import Source
from partialot.kernels.triton.exponents import INFINITY, LOG2_E, finite_size, grid_for, split
from partialot.kernels.triton.launching import with_unit_stride

_COST = tl.constexpr(int(Source.COST))
_PROGRAMS = 1056
"""A problem is cut into about so many, eight for each multiprocessor of an H100, by reckoning and not by measurement;
it is no property of the device at hand, lest results depend on it."""

_LEAST = 256
"""Fewest points that a program goes through: its own are read, and its sums written, once."""


class Side(NamedTuple):
    """One side of the pairs.

    Attributes:
        points: See `Points`.
        alone: See `Points`.
        potential: (batch, count), natural and float64; may be -inf.
    """

    points: Tensor
    alone: Tensor
    potential: Tensor


class Tiles(NamedTuple):
    """How a problem is cut.

    Attributes:
        height: Points of a program.
        width: Others taken at a time.
        warps: Of a program.
        part: Others that a program goes through, a multiple of the width.
        parts: Programs with the same points.
    """

    height: int
    width: int
    warps: int
    part: int
    parts: int

    @classmethod
    def of(cls, n: int, m: int, *, narrow: bool, deep: bool) -> "Tiles":
        """Cut pairs of n points with m.

        Args:
            n: Of the programs' own.
            m: Of the others.
            narrow: Whether costs are sums over a few coordinates: a thread then has points for itself.
            deep: Whether products are taken in several pieces, which are read for each tile again.
        """
        height, width, warps = (256, 32, 4) if narrow else (128, 128, 8) if deep else (128, 64, 4)
        most = max(1, min(_PROGRAMS // -(-n // height), m // _LEAST))
        part = -(-m // (most * width)) * width
        return cls(height, width, warps, part, -(-m // part))


@triton.jit
@no_type_check
def _place(side, k, inside, problem, scales):
    """Give where points are in units of the cost, what they add to it alone taken off."""
    alone_ptr, potential_ptr, size, stride = side
    potential = tl.load(potential_ptr + problem * stride + k, mask=inside, other=-INFINITY)
    return potential * scales[0] - tl.load(alone_ptr + problem * size + k, mask=inside, other=0.0)


@triton.jit
@no_type_check
def _reach(side, first, last, problem, scales, BLOCK: tl.constexpr):
    """Give the largest size of any place from one point to another."""
    most = tl.zeros((BLOCK,), dtype=tl.float64)
    for start in tl.range(first, last, BLOCK):
        k = start + tl.arange(0, BLOCK)
        most = tl.maximum(most, finite_size(_place(side, k, k < last, problem, scales)))
    return tl.max(most, 0)


@triton.jit
@no_type_check
def _take(coarse, weight, anchor, scaled, sums, log_unit, AXIS: tl.constexpr):
    """Add a tile's entries, the largest exponent so far divided out of all."""
    anchor = tl.maximum(anchor, tl.max(coarse, axis=AXIS))
    now = tl.where(anchor > -INFINITY, anchor, 0.0) * log_unit
    entries = tl.exp2(tl.fma(coarse, log_unit, -tl.expand_dims(now, AXIS))) * tl.expand_dims(weight, 1 - AXIS)
    # Nothing was summed before an anchor that falls.
    sums = sums * tl.exp2(tl.minimum(scaled - now, 0.0)) + tl.sum(entries, axis=AXIS)
    return anchor, now, sums


@triton.jit
@no_type_check
def _prepare(own, other, scale_ptrs, problem, i, ends, BLOCK: tl.constexpr):
    """Give the scales of a problem, the grid of a program's potentials, and its own points' potentials on it."""
    unit = tl.load(scale_ptrs[0] + problem)
    scales, log_unit = (1.0 / unit, tl.load(scale_ptrs[1] + problem)), unit * LOG2_E
    place = _place(own, i, i < own[2], problem, scales) + scales[1]
    most = tl.maximum(tl.max(finite_size(place), 0), _reach(other, ends[0], ends[1], problem, scales, BLOCK))
    grid = grid_for(most, tl.float32)
    high, low = split(place, grid, log_unit, tl.float32)
    return scales, log_unit, grid, high, low


@triton.jit
@no_type_check
def _by_coordinates(
    own_ptr,
    other_ptr,
    own,
    other,
    scale_ptrs,
    source_ptr,
    found_ptr,
    batch_strides,
    part_of_program,
    parts,
    D: tl.constexpr,
    DISTANCES: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    n, m = own[2], other[2]
    blocks = tl.cdiv(n, BLOCK_N)
    program = tl.program_id(0).to(tl.int64)
    problem, block, part = program // (parts * blocks), program // parts % blocks, program % parts
    if tl.load(source_ptr + problem) != _COST:
        return
    i = block * BLOCK_N + tl.arange(0, BLOCK_N)
    first = part * part_of_program
    last = tl.minimum(first + part_of_program, m)
    scales, log_unit, grid, high, low = _prepare(own, other, scale_ptrs, problem, i, (first, last), 256)
    unit = log_unit.to(tl.float32)
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
        high_other, low_other = split(_place(other, j, j < last, problem, scales), grid, log_unit, tl.float32)
        product = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
        for k in tl.static_range(D):
            theirs = tl.load(other_ptr + k * m + j, mask=j < last, other=0.0)
            if DISTANCES:
                gap = theirs[:, None] - mine[k][None, :]
                product = tl.fma(-gap, gap, product)
            else:
                product = tl.fma(theirs[:, None], mine[k][None, :], product)
        coarse = (high_other[:, None] + high[None, :]) + product
        anchor, scaled, sums = _take(coarse, tl.exp2(low_other), anchor, scaled, sums, unit, 0)
    total = tl.log2(sums).to(tl.float64) + (scaled.to(tl.float64) + low.to(tl.float64))
    tl.store(found_ptr + (problem * parts + part) * n + i, total, mask=i < n)


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
    own,
    other,
    scale_ptrs,
    source_ptr,
    found_ptr,
    batch_strides,
    part_of_program,
    parts,
    WIDTH: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_M: tl.constexpr,
    NUM_STAGES: tl.constexpr,
):
    n, m = own[2], other[2]
    blocks = tl.cdiv(n, BLOCK_N)
    program = tl.program_id(0).to(tl.int64)
    problem, block, part = program // (parts * blocks), program // parts % blocks, program % parts
    if tl.load(source_ptr + problem) != _COST:
        return
    i, k = block * BLOCK_N + tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_K)
    first = part * part_of_program
    last = tl.minimum(first + part_of_program, m)
    scales, log_unit, grid, high, low = _prepare(own, other, scale_ptrs, problem, i, (first, last), 256)
    unit, factor = log_unit.to(tl.float32), tl.load(scale_ptrs[2] + problem).to(tl.float32)
    mine_ptr = own_ptr + problem * batch_strides[0] + i[:, None] * (2 * WIDTH) + k[None, :]
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
        theirs_ptr = other_ptr + j[None, :] * (2 * WIDTH) + k[:, None]
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
        high_other, low_other = split(_place(other, j, j < last, problem, scales), grid, log_unit, tl.float32)
        coarse = tl.fma(product, factor, high[:, None] + high_other[None, :])
        anchor, scaled, sums = _take(coarse, tl.exp2(low_other), anchor, scaled, sums, unit, 1)
    total = tl.log2(sums).to(tl.float64) + (scaled.to(tl.float64) + low.to(tl.float64))
    tl.store(found_ptr + (problem * parts + part) * n + i, total, mask=i < n)


def log_sums(own: Side, other: Side, entries: CloudEntries) -> Tensor:
    """Give (batch, parts, n), logarithms to base 2 of the sums over each part of the other side, of none -inf."""
    points, (batch, n), m = entries.points, own.alone.shape, other.alone.shape[1]
    width = own.points.shape[1] if points.narrow else own.points.shape[2] // 2
    deep = not points.narrow and width > WHOLE
    tiles = Tiles.of(max(n, 1), max(m, 1), narrow=points.narrow, deep=deep)
    found = torch.empty((batch, tiles.parts, n), dtype=torch.float64, device=own.alone.device)
    if not found.numel():
        return found
    potentials = with_unit_stride(own.potential), with_unit_stride(other.potential)
    sides = tuple((side.alone, x, x.shape[1], x.stride(0)) for side, x in zip((own, other), potentials, strict=True))
    given = (
        own.points,
        other.points,
        *sides,
        (entries.unit, entries.shift, points.factor),
        entries.source,
        found,
        (own.points.stride(0), other.points.stride(0)),
        tiles.part,
        tiles.parts,
    )
    shape = {"BLOCK_N": tiles.height, "BLOCK_M": tiles.width, "num_warps": tiles.warps, "enable_fp_fusion": True}
    grid = (batch * -(-n // tiles.height) * tiles.parts,)
    with torch.cuda.device_of(found):
        if points.narrow:
            _by_coordinates[grid](*given, D=width, DISTANCES=points.distances, **shape)
        else:
            chunk = CHUNK if deep else width
            _by_products[grid](*given, WIDTH=width, BLOCK_K=chunk, NUM_STAGES=2 if deep else 3, **shape)
    return found
