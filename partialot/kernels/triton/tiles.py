"""What programs do that go through pairs of points tile by tile: their parts, products of points, and entries.

A program keeps some points of its own, and takes others tile by tile. Entries are taken over the largest so far of each
own point, by which no sum leaves the range of its type.
"""
# Kernels are programs of another language in Python's clothes.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from typing import no_type_check

import triton
import triton.language as tl

from partialot.kernels.triton.exponents import INFINITY


@triton.jit
@no_type_check
def part(size, part_of_program, parts, BLOCK_N: tl.constexpr):
    """Give the problem of a program, its points, and where its part of the others begins and ends."""
    blocks, program = tl.cdiv(size[0], BLOCK_N), tl.program_id(0)
    i = (program // parts % blocks) * BLOCK_N + tl.arange(0, BLOCK_N)
    first = program % parts * part_of_program
    return (program // (parts * blocks)).to(tl.int64), i, first, tl.minimum(first + part_of_program, size[1])


@triton.jit
@no_type_check
def powers(coarse, anchor, scaled, log_unit, TOP: tl.constexpr, AXIS: tl.constexpr):
    """Give a tile's entries over 2^now, and what earlier sums shrink by: the largest entry so far becomes 2^TOP."""
    before, anchor = anchor, tl.maximum(anchor, tl.max(coarse, axis=AXIS))
    now = tl.where(anchor > -INFINITY, anchor, 0.0) * log_unit - TOP
    entries = tl.exp2(tl.fma(coarse, log_unit, -tl.expand_dims(now, AXIS)))
    # Nothing was summed before an anchor that falls. Where it stays, so do the sums: contracted with the product, the
    # difference is the product's rounding, by which every tile would shrink them again.
    fall = tl.where(anchor > before, tl.minimum(scaled - now, 0.0), 0.0)
    return anchor, now, entries, tl.exp2(fall)


@triton.jit
@no_type_check
def coordinates(own_ptr, i, n, D: tl.constexpr):
    """Read some points, one vector for each coordinate."""
    mine = ()
    for k in tl.static_range(D):
        mine = mine + (tl.load(own_ptr + k * n + i, mask=i < n, other=0.0),)  # noqa: RUF005
    return mine


@triton.jit
@no_type_check
def of_coordinates(mine, other_ptr, j, last, m, product, D: tl.constexpr, DISTANCES: tl.constexpr, AXIS: tl.constexpr):
    """Add products, or take off squared distances, one coordinate after the other; the others lie along AXIS."""
    for k in tl.static_range(D):
        theirs = tl.expand_dims(tl.load(other_ptr + k * m + j, mask=j < last, other=0.0), 1 - AXIS)
        if DISTANCES:
            gap = theirs - tl.expand_dims(mine[k], AXIS)
            product = tl.fma(-gap, gap, product)
        else:
            product = tl.fma(theirs, tl.expand_dims(mine[k], AXIS), product)
    return product


@triton.jit
@no_type_check
def halves(ptr, inside, WIDTH: tl.constexpr):
    """Read both parts of some points."""
    return tl.load(ptr, mask=inside, other=0.0), tl.load(ptr + WIDTH, mask=inside, other=0.0)


@triton.jit
@no_type_check
def two_part_dot(near_own, rest_own, near_other, rest_other, product):
    """Add products of numbers in two parts, the smallest first."""
    product = tl.dot(rest_own, near_other, product)
    product = tl.dot(near_own, rest_other, product)
    return tl.dot(near_own, near_other, product)


@triton.jit
@no_type_check
def of_halves(
    mine_ptr,
    mine,
    theirs_ptr,
    inside,
    seen,
    product,
    WIDTH: tl.constexpr,
    BLOCK_K: tl.constexpr,
    NUM_STAGES: tl.constexpr,
):
    """Add products of points in two parts; of `mine` nothing is read where they are taken in several pieces."""
    if BLOCK_K == WIDTH:
        theirs = halves(theirs_ptr, seen, WIDTH)
        product = two_part_dot(mine[0], mine[1], theirs[0], theirs[1], product)
    else:
        for c in tl.range(0, WIDTH, BLOCK_K, num_stages=NUM_STAGES):
            piece, other = halves(mine_ptr + c, inside, WIDTH), halves(theirs_ptr + c, seen, WIDTH)
            product = two_part_dot(piece[0], piece[1], other[0], other[1], product)
    return product
