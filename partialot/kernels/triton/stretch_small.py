"""Stretches of small problems in one launch: the kernel stays in the registers of one program while it sweeps.

The vectors go through memory, where the part that decides (`sweeping`) is the same as that of large problems.
"""
# Kernels are programs of another language in Python's clothes.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

import math
from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from partialot.kernels.border import range_of_sums
from partialot.kernels.primitives import Marginals, RowSums, Source
from partialot.kernels.stretch import Kernels, Limits, Rules, State, Stretch, pass_at
from partialot.kernels.triton.exponents import INFINITY
from partialot.kernels.triton.launching import Work
from partialot.kernels.triton.ledger import SCALARS, Ledger
from partialot.kernels.triton.resident import REACH, evaluate, resident_pass
from partialot.kernels.triton.sweeping import PACE, sweep
from partialot.kernels.triton.vectors import prepare

LONGEST = 128
"""Nodes of a side. Of 128 × 128 a thread has 64 entries, which go to the cache while the vectors take the registers."""

_ENTRIES, _WARPS = 1024, 8
"""Of a warp, up to so many warps: 32 of a thread are beside the vectors without spills up to 64 × 64."""

_COST = tl.constexpr(int(Source.COST))


@triton.jit(do_not_specialize=["size"])
@no_type_check
def _stretch(
    cost_ptr,
    source_ptr,
    scale_ptrs,
    marginal_ptrs,
    side_ptrs,
    ledger_ptr,
    found_ptrs,
    next_ptrs,
    given_ptrs,
    base_ptrs,
    factor_ptrs,
    cost_strides,
    size,
    RULES: tl.constexpr,
    RANGE: tl.constexpr,
    PRICED: tl.constexpr,
    BLOCK: tl.constexpr,
    WORK: tl.constexpr,
    WILD: tl.constexpr,
    SMALL: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    problem = tl.program_id(0).to(tl.int64)
    if tl.load(source_ptr + problem) != _COST:
        return
    batch, n, m = size
    i, j = tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_M)
    scales = tl.load(scale_ptrs[0] + problem), tl.load(scale_ptrs[1] + problem)
    cost_ptr += problem * cost_strides[0]
    strides = cost_strides[1], cost_strides[2]
    f_ptr, log_a_ptr = side_ptrs[0] + problem * (n + 1), marginal_ptrs[1] + problem * (n + 1)
    given = given_ptrs[0] + problem * m, given_ptrs[1] + problem * n
    base = base_ptrs[0] + problem * n, base_ptrs[1] + problem * m
    factors = (
        factor_ptrs[0] + problem * BLOCK_N,
        factor_ptrs[1] + problem * BLOCK_N,
        factor_ptrs[2] + problem * BLOCK_M,
        factor_ptrs[3] + problem * BLOCK_M,
    )
    found = (
        found_ptrs[0] + problem * n,
        found_ptrs[1] + problem * n,
        found_ptrs[2] + problem * n,
        found_ptrs[3] + problem * m,
    )
    kernel = tl.zeros((BLOCK_N, BLOCK_M), dtype=WORK)
    travelled = tl.full((), INFINITY, tl.float64)
    is_made = 1
    while is_made > 0:
        if ~(travelled <= REACH):
            kernel = evaluate(cost_ptr, strides, f_ptr, given[0], base, factors, scales, i, j, (n, m), WORK)
            travelled = tl.full((), 0.0, tl.float64)
        omega = tl.load(ledger_ptr + PACE * batch + problem).to(WORK)
        resident_pass(kernel, f_ptr, given, log_a_ptr, found, base, factors, omega, i, j, (n, m), WORK, WILD, SMALL)
        tl.debug_barrier()
        is_made, moved = sweep(
            marginal_ptrs,
            side_ptrs,
            ledger_ptr,
            found_ptrs,
            next_ptrs,
            given_ptrs,
            problem,
            size,
            RULES,
            RANGE,
            WORK,
            PRICED,
            BLOCK,
        )
        tl.debug_barrier()
        travelled += moved


def fits(cost: Tensor) -> bool:
    """Tell whether the problems are small enough."""
    return max(cost.shape[1:]) <= LONGEST and Work.of(cost).dtype == torch.float32


def stretch(kernels: Kernels, marginals: Marginals, state: State, limits: Limits, rules: Rules) -> Stretch:
    """See `partialot.kernels.stretch`; entries come from costs, and problems are small enough (`fits`)."""
    cost, prices = kernels.prices.cost, kernels.prices
    batch, n, m = cost.shape
    work, book = Work.of(cost), Ledger.of(state, limits)
    entries, update = pass_at(kernels, marginals, book.state)
    columns, edge = entries.columns.contiguous(), update.edge.contiguous()
    weights, size, block = prepare(marginals, book.state.iterate)
    height, width = (max(16, triton.next_power_of_2(x)) for x in (n, m))
    found = RowSums(*(torch.empty_like(edge) for _ in range(3)), torch.empty_like(columns))
    room = torch.empty_like(book.f), torch.empty_like(book.g), torch.empty_like(book.lines[:SCALARS])
    base = torch.empty_like(edge), torch.empty_like(columns)
    factors = tuple(
        torch.empty((batch, x), dtype=work.dtype, device=cost.device) for x in (height, height, width, width)
    )
    least, most = range_of_sums(work.dtype)
    if batch:
        with torch.cuda.device_of(cost):
            _stretch[(batch,)](
                cost,
                kernels.source,
                (prices.unit, prices.shift),
                weights,
                (book.f, book.g),
                book.lines,
                tuple(found),
                room,
                (columns, edge),
                base,
                factors,
                cost.stride(),
                (batch, *size),
                RULES=rules,
                RANGE=(least, most, math.exp(least)),
                PRICED=int(marginals.priced),
                BLOCK=block,
                WORK=work.kind,
                WILD=work.wild,
                SMALL=work.small,
                BLOCK_N=height,
                BLOCK_M=width,
                num_warps=min(_WARPS, max(1, height * width // _ENTRIES)),
                enable_fp_fusion=True,
            )
    return book.stretch(found)
