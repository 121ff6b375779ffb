"""What the kernels over vectors share: one program a problem, all numbers float64, logarithms natural.

WORK is the type that the sums of passes were taken in: of float32, no more digits are known than that has.
"""
# Kernels are programs of another language in Python's clothes.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from typing import no_type_check

import triton
import triton.language as tl
from torch import Tensor

from partialot.kernels.primitives import Iterate, Marginals
from partialot.kernels.triton.exponents import INFINITY, LN_2, LOG2_E, safe_relaxation

_LONGEST = 1024
"""Nodes taken at a time."""

_MANTISSA, _ONE = tl.constexpr(0x000FFFFFFFFFFFFF), tl.constexpr(0x3FF0000000000000)
"""Bits of a float64: those of its mantissa, and the number 1."""


@triton.jit
@no_type_check
def exp_of(x, WORK: tl.constexpr):
    """Give exp(x), right to the rounding of WORK, in the range of float64.

    A GPU takes exponentials and logarithms of float64 by dozens of instructions, those of float32 by one.
    """
    if WORK.is_fp64():
        return tl.exp(x)
    x *= LOG2_E
    # What is beyond goes with the fraction: to 0, to infinity, or on as no number.
    whole = tl.floor(tl.minimum(tl.maximum(x, -1022.0), 1023.0))
    scale = ((whole.to(tl.int64) + 1023) << 52).to(tl.float64, bitcast=True)
    return tl.exp2((x - whole).to(tl.float32)).to(tl.float64) * scale


@triton.jit
@no_type_check
def log_of(x, WORK: tl.constexpr):
    """Give log(x) of a normal number, 0, infinity or no number, as far off as WORK rounds numbers near 1."""
    if WORK.is_fp64():
        return tl.log(x)
    bits = x.to(tl.int64, bitcast=True)
    mantissa = ((bits & _MANTISSA) | _ONE).to(tl.float64, bitcast=True)
    logarithm = ((bits >> 52) - 1023).to(tl.float64) + tl.log2(mantissa.to(tl.float32)).to(tl.float64)
    return tl.where((x > 0) & (x < INFINITY), logarithm * LN_2, tl.where(x == 0, -INFINITY, x))


@triton.jit
@no_type_check
def expm1(x, WORK: tl.constexpr):
    """Give exp(x) − 1 with all digits of WORK near 0."""
    near = tl.abs(x) < (1.0 if WORK.is_fp64() else 0.35)
    e = exp_of(x, WORK)
    if WORK.is_fp64():
        # Kahan's correction of (e − 1) x / log e.
        safe = tl.where(near & (e != 1.0), e, 2.0)
        return tl.where(e == 1.0, x, tl.where(near, (safe - 1.0) * x / tl.log(safe), e - 1.0))
    series = 1 / 6 + x * (1 / 24 + x * (1 / 120 + x * (1 / 720 + x * (1 / 5040))))
    return tl.where(near, x * (1.0 + x * (0.5 + x * series)), e - 1.0)


@triton.jit
@no_type_check
def off(log_total, WORK: tl.constexpr):
    """Give how far a sum over its weight is from 1; a sum far above 1 counts more, a missing one as 1."""
    above = expm1(log_total, WORK)
    return tl.abs(above) * tl.maximum(above + 1.0, 1.0)


@triton.jit
@no_type_check
def step(log_total, omega, WORK: tl.constexpr):
    """Give how far potentials move whose sums over their weights have these logarithms."""
    small: tl.constexpr = 1e-4 if WORK.is_fp64() else 0.02
    allowed = safe_relaxation(log_total.to(WORK), omega.to(WORK), small).to(tl.float64)
    return -tl.where(omega > 1.0, allowed, 1.0) * log_total


@triton.jit
@no_type_check
def log_sum_exp(one_ptr, other_ptr, count, WORK: tl.constexpr, BLOCK: tl.constexpr):
    """Give log Σ_k exp(one_k + other_k), 0 of nothing."""
    most = tl.full((), -INFINITY, tl.float64)
    total = tl.full((), 0.0, tl.float64)
    for start in tl.range(0, count, BLOCK):
        k = start + tl.arange(0, BLOCK)
        one = tl.load(one_ptr + k, mask=k < count, other=-INFINITY)
        terms = one + tl.load(other_ptr + k, mask=k < count, other=0.0)
        larger = tl.maximum(most, tl.max(terms, 0))
        known = tl.where(tl.abs(larger) < INFINITY, larger, 0.0)
        before = exp_of(tl.minimum(most - known, 0.0), WORK)
        total = total * before + tl.sum(exp_of(terms - known, WORK), 0)
        most = larger
    return tl.where(tl.abs(most) < INFINITY, most + log_of(tl.where(total > 0, total, 1.0), WORK), 0.0)


def prepare(marginals: Marginals, iterate: Iterate) -> tuple[tuple[Tensor, ...], tuple[int, int], int]:
    """Give the weights as the kernels take them, the numbers of real nodes, and how many are taken at a time."""
    weights = tuple(x.contiguous() for x in (marginals.a, marginals.log_a, marginals.b, marginals.log_b))
    n, m = iterate.f.shape[1] - 1, iterate.g.shape[1] - 1
    return weights, (n, m), min(_LONGEST, max(16, triton.next_power_of_2(max(n, m, 1))))


def warps(block: int) -> int:
    """Give the warps of a program: four nodes a thread."""
    return min(8, max(1, block // 128))
