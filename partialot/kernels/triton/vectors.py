"""What the kernels over vectors share: one program a problem, all numbers float64, logarithms natural."""
# Kernels are programs of another language in Python's clothes.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from typing import no_type_check

import triton
import triton.language as tl
from torch import Tensor

from partialot.kernels.primitives import Iterate, Marginals
from partialot.kernels.triton.exponents import INFINITY, safe_relaxation

_LONGEST = 1024
"""Nodes taken at a time."""
_SMALL = tl.constexpr(1e-4)


@triton.jit
@no_type_check
def expm1(x):
    """Give exp(x) − 1 with all its digits near 0, by Kahan's correction of (e − 1) x / log e."""
    e = tl.exp(x)
    near = tl.abs(x) < 1.0
    safe = tl.where(near & (e != 1.0), e, 2.0)
    return tl.where(e == 1.0, x, tl.where(near, (safe - 1.0) * x / tl.log(safe), e - 1.0))


@triton.jit
@no_type_check
def off(log_total):
    """Give how far a sum over its weight is from 1; a sum far above 1 counts more, a missing one as 1."""
    above = expm1(log_total)
    return tl.abs(above) * tl.maximum(above + 1.0, 1.0)


@triton.jit
@no_type_check
def step(log_total, omega):
    """Give how far potentials move whose sums over their weights have these logarithms."""
    return -tl.where(omega > 1.0, safe_relaxation(log_total, omega, _SMALL), 1.0) * log_total


@triton.jit
@no_type_check
def log_sum_exp(one_ptr, other_ptr, count, BLOCK: tl.constexpr):
    """Give log Σ_k exp(one_k + other_k), 0 of nothing."""
    most = tl.full((), -INFINITY, tl.float64)
    total = tl.full((), 0.0, tl.float64)
    for start in tl.range(0, count, BLOCK):
        k = start + tl.arange(0, BLOCK)
        one = tl.load(one_ptr + k, mask=k < count, other=-INFINITY)
        terms = one + tl.load(other_ptr + k, mask=k < count, other=0.0)
        larger = tl.maximum(most, tl.max(terms, 0))
        known = tl.where(tl.abs(larger) < INFINITY, larger, 0.0)
        total = total * tl.exp(tl.minimum(most - known, 0.0)) + tl.sum(tl.exp(terms - known), 0)
        most = larger
    return tl.where(tl.abs(most) < INFINITY, most + tl.log(tl.where(total > 0, total, 1.0)), 0.0)


def prepare(marginals: Marginals, iterate: Iterate) -> tuple[tuple[Tensor, ...], tuple[int, int], int]:
    """Give the weights as the kernels take them, the numbers of real nodes, and how many are taken at a time."""
    weights = tuple(x.contiguous() for x in (marginals.a, marginals.log_a, marginals.b, marginals.log_b))
    n, m = iterate.f.shape[1] - 1, iterate.g.shape[1] - 1
    return weights, (n, m), min(_LONGEST, max(16, triton.next_power_of_2(max(n, m, 1))))


def warps(block: int) -> int:
    """Give the warps of a program: four nodes a thread."""
    return min(8, max(1, block // 128))
