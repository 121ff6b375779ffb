"""Exponents of Gibbs kernels without rounding, and what else the kernels share; all logarithms in them are to base 2.

An entry is exp2(unit · ((high_i + high_j) − cost_ij) + (low_i + low_j)). Potentials come in float64 and are split into
a part on a grid so coarse that the sum of two has no more digits than the working type, and the rest, which is minute:
the sum is exact, so that the difference to a like cost is right to the rounding of the *result*, however large it is.
`partialot.kernels.terms` does the same in plain PyTorch.
"""
# Kernels are programs of another language in Python's clothes.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from typing import no_type_check

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.44269504088896340736)
LN_2 = tl.constexpr(0.69314718055994530942)
INFINITY = tl.constexpr(float("inf"))
_ROUNDER = tl.constexpr(6755399441055744.0)  # 1.5 · 2^52: in float64, adding it rounds to a whole number
_LEAST = tl.constexpr(1e-280)  # a grid below it would leave float64


@triton.jit
@no_type_check
def grid_for(largest, WORK: tl.constexpr):
    """Give the finest grid on which sums of two numbers up to `largest`, a float64, have no more digits than WORK."""
    exponent = (tl.maximum(largest, _LEAST).to(tl.int64, bitcast=True) >> 52) + (2 - WORK.fp_mantissa_width)
    return (exponent << 52).to(tl.float64, bitcast=True)


@triton.jit
@no_type_check
def finite_size(x):
    """Give |x|, 0 for infinities."""
    size = tl.abs(x)
    return tl.where(size < INFINITY, size, 0.0)


@triton.jit
@no_type_check
def largest_place(potential_ptr, first, last, per_unit, shift, ROWS: tl.constexpr):
    """Give the largest size of potentials in units of the cost, taken by parts: there may be any number."""
    most = tl.zeros((ROWS,), dtype=tl.float64)
    for start in tl.range(first, last, ROWS):
        k = start + tl.arange(0, ROWS)
        place = tl.load(potential_ptr + k, mask=k < last, other=-INFINITY) * per_unit + shift
        most = tl.maximum(most, finite_size(place))
    return tl.max(most, 0)


@triton.jit
@no_type_check
def split(x, grid, log_unit, WORK: tl.constexpr):
    """Give the nearest number on the grid, and the rest as an exponent; infinities have none."""
    rounder = _ROUNDER * grid
    near = (x + rounder) - rounder
    finite = tl.abs(x) < INFINITY
    return tl.where(finite, near, x).to(WORK), tl.where(finite, (x - near) * log_unit, 0.0).to(WORK)


@triton.jit
@no_type_check
def exponents(cost, high_rows, low_rows, high_columns, low_columns, log_unit):
    """Give the logarithms of a tile's entries; `log_unit` is in the working type."""
    coarse = (high_rows[:, None] + high_columns[None, :]) - cost
    return tl.fma(coarse, log_unit, low_rows[:, None] + low_columns[None, :])


@triton.jit
@no_type_check
def power(x, WORK: tl.constexpr):
    """Give 2^x of a float64 in the working type, with all its digits however large x is."""
    bounded = tl.minimum(tl.maximum(x, -2100.0), 2100.0)
    whole = tl.floor(bounded)
    return tl.exp2((bounded - whole).to(WORK)) * tl.exp2(whole.to(WORK))


@triton.jit
@no_type_check
def log_of_sum(one, other):
    """Give log(2^one + 2^other) of float64, infinite where the larger is."""
    most = tl.maximum(one, other)
    finite = tl.abs(most) < INFINITY
    anchor = tl.where(finite, most, 0.0)
    low = tl.where(finite, tl.minimum(one, other) - anchor, 0.0)
    return tl.where(finite, anchor + tl.log2(1.0 + tl.exp2(low)), most)


@triton.jit
@no_type_check
def safe_relaxation(log_total, omega, SMALL: tl.constexpr):
    """Give ω where the dual gains enough by it, else 1; see `partialot.kernels.reference.safe_relaxation`.

    Args:
        log_total: Natural logarithms of sums over their weights.
        omega: Wanted.
        SMALL: Below it gains are differences of like numbers, and their series are taken instead.
    """
    y = tl.maximum(-log_total, 0.0)
    x = tl.exp2(y * LOG2_E)
    gain, exact = 1.0 + omega * x * y - tl.exp2(omega * y * LOG2_E), 1.0 + x * y - x
    # Both over y².
    square = omega * omega
    first = omega - square / 2 + y * (omega / 2 - square * omega / 6 + y * (omega / 6 - square * square / 24))
    second = 0.5 + y * (1.0 / 3 + y * 0.125)
    gain, exact = tl.where(y < SMALL, first, gain), tl.where(y < SMALL, second, exact)
    return tl.where(gain >= 0.5 * omega * (2.0 - omega) * exact, omega, 1.0)


@triton.jit
@no_type_check
def moves(log_total, omega, room, WORK: tl.constexpr, WILD: tl.constexpr, SMALL: tl.constexpr):
    """Give how far potentials move whose sums have these logarithms, at most as far as there is room."""
    seen = tl.abs(log_total) < INFINITY
    natural = tl.where(seen, log_total, 0.0) * LN_2
    allowed = tl.where(tl.abs(log_total) < WILD, safe_relaxation(natural.to(WORK), omega, SMALL), 1.0)
    # A row that sees nothing stays where it is.
    return tl.where(seen, tl.minimum(-allowed.to(tl.float64) * natural, room), 0.0)
