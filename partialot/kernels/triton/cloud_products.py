"""Products with Gibbs kernels between points whose costs are evaluated on the way: no entry is written to memory.

    y_ik = Σ_j exp(rows_i + columns_j − unit (cost_ij − shift)) values_jk

Definition: `partialot.kernels.reference.cloud_product`. The skeleton is that of `pairs`. A few columns of values are
summed each for itself. More are products of matrices: entries and values are two numbers of float16 each, as points
are, and three of their four products are taken, summed in float32.

Entries of a converged plan would not overflow as they are. All the same, the size of the values goes with the columns'
potentials, and the largest term of a row so far is divided out: only then have two numbers of float16 22 bits of all
that counts in the row, however far its entries are from 1; and nodes of weight 0, whose entries may be as large as
numbers can be, count for nothing. Terms below 2⁻³⁸ of the largest are lost where products of matrices are taken, else
those below 2⁻¹²⁶.
"""
# Kernels are programs of another language in Python's clothes.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from typing import NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from partialot.kernels.points import CHUNK, TOP, WHOLE, CloudEntries, halves
from partialot.kernels.primitives import Source
from partialot.kernels.triton import tiles
from partialot.kernels.triton.exponents import INFINITY, LOG2_E
from partialot.kernels.triton.launching import Tiles
from partialot.kernels.triton.merging import merge_scaled
from partialot.kernels.triton.places import Side, places, room_for_places

_COST = tl.constexpr(int(Source.COST))
_TOP = tl.constexpr(float(TOP))
_ALONE, _ALONE_NARROW = 2, 4
"""Up to so many columns of values are summed each for itself: beyond, products of matrices take fewer instructions.
Between few coordinates a thread has points for itself, and need share no sums."""
_TOGETHER, _TOGETHER_WIDE = 64, 32
"""So many columns at most are taken at a time, the latter beside more than CHUNK coordinates that are taken at once:
those fill the registers."""


class _Values(NamedTuple):
    """What kernels are multiplied with.

    Attributes:
        numbers: (batch, k, m) float32, or (batch, m, 2 k) float16: nearest numbers, then the rest; filled up with 0.
        unit: (batch, k), of the halves, float64; None where there are none.
        width: Columns taken at a time.
        times: How often that is.
    """

    numbers: Tensor
    unit: Tensor | None
    width: int
    times: int

    @classmethod
    def of(cls, values: Tensor, *, alone: int, together: int) -> "_Values":
        """Prepare (batch, m, k) of float32.

        Args:
            values: The columns.
            alone: Up to so many are summed each for itself.
            together: So many are taken at a time at most.
        """
        k = values.shape[-1]
        if k <= alone:
            return cls(values.mT.contiguous(), None, k, 1)
        width = min(together, max(16, triton.next_power_of_2(k)))
        times = -(-k // width)
        numbers, unit = halves(torch.nn.functional.pad(values, (0, width * times - k)), (-2,))
        return cls(numbers, unit.squeeze(-2), width, times)


@triton.jit
@no_type_check
def _nothing(WIDTH: tl.constexpr, BLOCK_N: tl.constexpr):
    sums = ()
    for _ in tl.static_range(WIDTH):
        sums = sums + (tl.zeros((BLOCK_N,), dtype=tl.float32),)  # noqa: RUF005
    return sums


@triton.jit
@no_type_check
def _one_by_one(sums, shrink, entries, values_ptr, j, last, m, WIDTH: tl.constexpr, AXIS: tl.constexpr):
    """Add a tile's entries times each column of values."""
    following = ()
    for c in tl.static_range(WIDTH):
        values = tl.load(values_ptr + c * m + j, mask=j < last, other=0.0)
        part = tl.sum(entries * tl.expand_dims(values, 1 - AXIS), axis=AXIS)
        following = following + (tl.fma(sums[c], shrink, part),)  # noqa: RUF005
    return following


@triton.jit
@no_type_check
def _together(sums, shrink, entries, values_ptr, inside, WIDTH: tl.constexpr, AXIS: tl.constexpr):
    """Add a tile's entries times all columns of values, whose second halves lie WIDTH behind the first."""
    near = entries.to(tl.float16)
    rest = (entries - near.to(tl.float32)).to(tl.float16)
    if AXIS == 0:
        near, rest = tl.trans(near), tl.trans(rest)
    values = tiles.halves(values_ptr, inside, WIDTH)
    return tiles.two_part_dot(near, rest, values[0], values[1], sums * shrink[:, None])


@triton.jit
@no_type_check
def _cloud_product(
    point_ptrs,
    high_ptrs,
    values_ptr,
    scale_ptrs,
    source_ptr,
    found_ptrs,
    batch_strides,
    size,
    part_of_program,
    parts,
    NARROW: tl.constexpr,
    DISTANCES: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_K: tl.constexpr,
    TOGETHER: tl.constexpr,
    VALUES: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_M: tl.constexpr,
    NUM_STAGES: tl.constexpr,
):
    n, m = size
    problem, i, first, last = tiles.part(size, part_of_program, parts, BLOCK_N)
    if tl.load(source_ptr + problem) != _COST:
        return
    # The own points lie along the threads where each thread has some for itself.
    AXIS: tl.constexpr = 0 if NARROW else 1
    SHAPE: tl.constexpr = (BLOCK_M, BLOCK_N) if AXIS == 0 else (BLOCK_N, BLOCK_M)
    times, total = tl.program_id(1), VALUES * tl.num_programs(1)
    unit = (tl.load(scale_ptrs[0] + problem) * LOG2_E).to(tl.float32)
    factor, k, c = tl.load(scale_ptrs[1] + problem).to(tl.float32), tl.arange(0, BLOCK_K), times * VALUES
    high = tl.expand_dims(tl.load(high_ptrs[0] + problem * n + i, mask=i < n, other=-INFINITY), AXIS)
    own_ptr, other_ptr = point_ptrs[0] + problem * batch_strides[0], point_ptrs[1] + problem * batch_strides[1]
    # int64: halves of millions of points pass 2^31.
    mine_ptr, inside = own_ptr + i.to(tl.int64)[:, None] * (2 * WIDTH) + k[None, :], (i < n)[:, None]
    mine = ()
    if NARROW:
        mine = tiles.coordinates(own_ptr, i, n, WIDTH)
    elif BLOCK_K == WIDTH:
        mine = tiles.halves(mine_ptr, inside, WIDTH)
    anchor = tl.full((BLOCK_N,), -INFINITY, dtype=tl.float32)
    scaled = tl.zeros((BLOCK_N,), dtype=tl.float32)
    if TOGETHER:
        values_ptr += problem * m * 2 * total
        c += tl.arange(0, VALUES)
        sums = tl.zeros((BLOCK_N, VALUES), dtype=tl.float32)
    else:
        values_ptr += problem * m * total
        sums = _nothing(VALUES, BLOCK_N)
    for start in tl.range(first, last, BLOCK_M, num_stages=NUM_STAGES):
        j = start + tl.arange(0, BLOCK_M)
        product = tl.zeros(SHAPE, dtype=tl.float32)
        if NARROW:
            product = tiles.of_coordinates(mine, other_ptr, j, last, m, product, WIDTH, DISTANCES, AXIS)
        else:
            theirs_ptr, seen = other_ptr + j.to(tl.int64)[None, :] * (2 * WIDTH) + k[:, None], (j < last)[None, :]
            product = tiles.of_halves(mine_ptr, mine, theirs_ptr, inside, seen, product, WIDTH, BLOCK_K, NUM_STAGES)
        high_other = tl.load(high_ptrs[1] + problem * m + j, mask=j < last, other=-INFINITY)
        coarse = high + tl.expand_dims(high_other, 1 - AXIS)
        coarse = coarse + product if NARROW else tl.fma(product, factor, coarse)
        if TOGETHER:
            anchor, scaled, entries, shrink = tiles.powers(coarse, anchor, scaled, unit, _TOP, AXIS)
            tile = values_ptr + j.to(tl.int64)[:, None] * (2 * total) + c[None, :]
            sums = _together(sums, shrink, entries, tile, (j < last)[:, None], total, AXIS)
        else:
            anchor, scaled, entries, shrink = tiles.powers(coarse, anchor, scaled, unit, 0.0, AXIS)
            sums = _one_by_one(sums, shrink, entries, values_ptr, j, last, m, VALUES, AXIS)
    at = (problem * parts + tl.program_id(0) % parts) * n + i
    written = tl.where(times == 0, n, 0)
    tl.store(found_ptrs[1] + at, tl.where(anchor > -INFINITY, scaled, -INFINITY), mask=i < written)
    if TOGETHER:
        tl.store(found_ptrs[0] + at[:, None] * total + c[None, :], sums, mask=inside)
    else:
        for one in tl.static_range(VALUES):
            tl.store(found_ptrs[0] + at * total + one, sums[one], mask=i < n)


def cloud_product(entries: CloudEntries, values: Tensor) -> Tensor:
    """See `reference.cloud_product`."""
    (batch, n), (m, k) = entries.rows.shape, values.shape[-2:]
    merged = torch.zeros((batch, n, k), dtype=torch.float64, device=entries.rows.device)
    if not (merged.numel() and m):
        return merged
    most = values.abs().amax(-1).double()
    entries = entries._replace(columns=entries.columns + most.log())
    values = (values / torch.where(most > 0, most, 1.0).unsqueeze(-1)).float()
    with torch.cuda.device_of(merged):
        merge_scaled(*_parts(entries, values), entries.source, merged)
    return merged


def _parts(entries: CloudEntries, values: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Give what the parts are and are to be merged by; see `merge_scaled`."""
    (batch, n), m, points = entries.rows.shape, values.shape[-2], entries.points
    own, other = Side(points.x, points.alone_x, entries.rows), Side(points.y, points.alone_y, entries.columns)
    (high, weight), (high_other, weight_other) = split = room_for_places(own, other)
    places(own, other, entries, split)
    width = points.x.shape[1] if points.narrow else points.x.shape[2] // 2
    chunk = CHUNK if width > WHOLE else width
    packed = _Values.of(
        values * weight_other.unsqueeze(-1),
        alone=_ALONE_NARROW if points.narrow else _ALONE,
        together=_TOGETHER if chunk <= CHUNK else _TOGETHER_WIDE,
    )
    alone = packed.unit is None
    cut = Tiles.of(n, m, narrow=points.narrow and alone, deep=chunk < width, times=packed.times)
    found = weight.new_empty((batch, cut.parts, n, packed.width * packed.times))
    anchors = weight.new_empty((batch, cut.parts, n))
    _cloud_product[(batch * -(-n // cut.height) * cut.parts, packed.times)](
        (points.x, points.y),
        (high, high_other),
        packed.numbers,
        (entries.unit, points.factor),
        entries.source,
        (found, anchors),
        (points.x.stride(0), points.y.stride(0)),
        (n, m),
        cut.part,
        cut.parts,
        NARROW=points.narrow,
        DISTANCES=points.distances,
        WIDTH=width,
        BLOCK_K=triton.next_power_of_2(chunk),
        TOGETHER=not alone,
        VALUES=packed.width,
        BLOCK_N=cut.height,
        BLOCK_M=cut.width,
        NUM_STAGES=None if points.narrow else 2,
        num_warps=cut.warps,
        # Products are contracted where that is written: elsewhere roundings are to be the same at every mention.
        enable_fp_fusion=False,
    )
    return found, anchors, weight, packed.unit
