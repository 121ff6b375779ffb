"""How far potentials are from right, one program a problem: nothing in it waits for the host.

Definition and formulas: `partialot.kernels.border.measure`.
"""
# Kernels are programs of another language in Python's clothes.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from typing import no_type_check

import torch
import triton
import triton.language as tl

from partialot.kernels.primitives import Iterate, Marginals, Measured, RowSums
from partialot.kernels.triton.exponents import INFINITY
from partialot.kernels.triton.vectors import exp_of, log_sum_exp, off, prepare, warps


@triton.jit
@no_type_check
def measure_one(
    marginal_ptrs,
    iterate_ptrs,
    log_total_ptr,
    fraction_ptr,
    problem,
    size,
    WORK: tl.constexpr,
    PRICED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Give the logarithm of the dummy source's sum over its weight, the violation, and the mass that moves."""
    n, m = size
    a_ptr, f_ptr, g_ptr = (
        marginal_ptrs[0] + problem * (n + 1),
        iterate_ptrs[0] + problem * (n + 1),
        iterate_ptrs[1] + problem * (m + 1),
    )
    edge = tl.load(f_ptr + n) + log_sum_exp(marginal_ptrs[3] + problem * (m + 1), g_ptr, m + PRICED, WORK, BLOCK)
    wrong, amount = tl.zeros((BLOCK,), dtype=tl.float64), tl.zeros((BLOCK,), dtype=tl.float64)
    for start in tl.range(0, n, BLOCK):
        i = start + tl.arange(0, BLOCK)
        carried = tl.load(a_ptr + i, mask=i < n, other=0.0) * tl.load(
            fraction_ptr + problem * n + i, mask=i < n, other=0.0
        )
        log_total = tl.load(log_total_ptr + problem * n + i, mask=i < n, other=0.0)
        wrong += carried * off(log_total, WORK)
        amount += carried * exp_of(log_total, WORK)
    error = tl.sum(wrong, 0)
    of_edge = (tl.load(iterate_ptrs[5] + problem) + tl.load(iterate_ptrs[3] + problem)) * off(edge, WORK)
    error += tl.where(tl.load(a_ptr + n) > 0, of_edge, 0.0)
    error = error / tl.load(iterate_ptrs[2] + problem) + tl.load(iterate_ptrs[4] + problem)
    return edge, tl.where(error == error, error, INFINITY), tl.sum(amount, 0)


@triton.jit
@no_type_check
def _measure(
    marginal_ptrs,
    iterate_ptrs,
    log_total_ptr,
    fraction_ptr,
    found_ptrs,
    size,
    PRICED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    problem = tl.program_id(0).to(tl.int64)
    edge, error, moved = measure_one(
        marginal_ptrs, iterate_ptrs, log_total_ptr, fraction_ptr, problem, size, tl.float64, PRICED, BLOCK
    )
    tl.store(found_ptrs[0] + problem, edge)
    tl.store(found_ptrs[1] + problem, error)
    tl.store(found_ptrs[2] + problem, moved)


def measure(marginals: Marginals, iterate: Iterate, rows: RowSums) -> Measured:
    """See `border.measure`."""
    found = Measured(*(torch.empty_like(iterate.mass) for _ in range(3)))
    weights, size, block = prepare(marginals, iterate)
    if len(iterate.mass):
        with torch.cuda.device_of(iterate.f):
            _measure[(len(iterate.mass),)](
                weights,
                tuple(x.contiguous() for x in iterate),
                rows.log_total.contiguous(),
                rows.fraction.contiguous(),
                tuple(found),
                size,
                PRICED=int(marginals.priced),
                BLOCK=block,
                num_warps=warps(block),
                enable_fp_fusion=True,
            )
    return found
