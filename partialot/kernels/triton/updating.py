"""The update of the columns, the dummies and the mass, one program a problem: nothing in it waits for the host.

Definition and formulas: `partialot.kernels.border.update`. What columns have is computed twice, since their potentials
can only be judged once the mass is known, which is known by all of them.
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
from partialot.kernels.primitives import Iterate, Marginals, RowSums
from partialot.kernels.triton.exponents import INFINITY
from partialot.kernels.triton.vectors import exp_of, expm1, log_of, log_sum_exp, prepare, step, warps

_TINY = tl.constexpr(torch.finfo(torch.float64).tiny)


@triton.jit
@no_type_check
def _columns(ptrs, j, m, log_edge, omega, LOGS: tl.constexpr, WORK: tl.constexpr):
    """Give what is known of some columns.

    In this order: their weights and potentials; the logarithms of the real part as it came and of the whole sum; the
    former where the column takes anything; that of the sum over the weight; the real share; how far potentials move.
    """
    b_ptr, log_b_ptr, g_ptr, columns_ptr = ptrs
    b = tl.load(b_ptr + j, mask=j < m, other=0.0)
    log_b = tl.load(log_b_ptr + j, mask=j < m, other=-INFINITY)
    g = tl.load(g_ptr + j, mask=j < m, other=0.0)
    if LOGS:
        log_real = tl.load(columns_ptr + j, mask=j < m, other=-INFINITY)
    else:
        log_real = log_of(tl.load(columns_ptr + j, mask=j < m, other=0.0), WORK)
    lacking = log_edge + g + log_b
    most = tl.maximum(log_real, lacking)
    finite = tl.abs(most) < INFINITY
    known = tl.where(finite, most, 0.0)
    total = exp_of(log_real - known, WORK) + exp_of(lacking - known, WORK)
    log_sum = tl.where(finite, known + log_of(total, WORK), most)
    found = (b > 0) & finite
    log_total = tl.where(found, log_sum - log_b, 0.0)
    share = tl.where(found, exp_of(log_real - log_sum, WORK), 0.0)
    return b, g, log_real, log_sum, tl.where(found, log_real, -INFINITY), log_total, share, step(log_total, omega, WORK)


@triton.jit
@no_type_check
def copy(from_ptr, to_ptr, count, BLOCK: tl.constexpr):
    """Copy numbers of float64."""
    for start in tl.range(0, count, BLOCK):
        k = start + tl.arange(0, BLOCK)
        tl.store(to_ptr + k, tl.load(from_ptr + k, mask=k < count, other=0.0), mask=k < count)


@triton.jit
@no_type_check
def update_one(
    marginal_ptrs,
    iterate_ptrs,
    sum_ptrs,
    next_ptrs,
    problem,
    edge,
    omega,
    size,
    LEAST: tl.constexpr,
    MOST: tl.constexpr,
    LOST: tl.constexpr,
    LOGS: tl.constexpr,
    WORK: tl.constexpr,
    PRICED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Write the next iterate of a problem; give whether a sum over columns left its range.

    `sum_ptrs` are by how much rows moved, and the sums over columns, by their logarithms where LOGS. Their natural
    logarithms are to be between LEAST and MOST; LOST is the number that the former belongs to.
    """
    n, m = size
    sources, targets = problem * (n + 1), problem * (m + 1)
    old_f, old_g, f_ptr, g_ptr = (
        iterate_ptrs[0] + sources,
        iterate_ptrs[1] + targets,
        next_ptrs[0] + sources,
        next_ptrs[1] + targets,
    )
    log_a_ptr, log_b_ptr = marginal_ptrs[1] + sources, marginal_ptrs[3] + targets
    moved_ptr = sum_ptrs[0] + problem * n
    f_edge = tl.load(old_f + n) + step(edge, omega, WORK)
    for start in tl.range(0, n, BLOCK):
        i = start + tl.arange(0, BLOCK)
        f = tl.load(old_f + i, mask=i < n, other=0.0) + tl.load(moved_ptr + i, mask=i < n, other=0.0)
        tl.store(f_ptr + i, f, mask=i < n)
    tl.store(f_ptr + n, f_edge)
    log_edge = tl.load(log_a_ptr + n) + f_edge
    columns = marginal_ptrs[2] + targets, log_b_ptr, old_g, sum_ptrs[1] + problem * m
    wild, taken, lost = tl.zeros((BLOCK,), tl.int32), tl.zeros((BLOCK,), tl.int32), tl.zeros((BLOCK,), tl.float64)
    most, total = tl.full((), -INFINITY, tl.float64), tl.full((), 0.0, tl.float64)
    for start in tl.range(0, m, BLOCK):
        b, _, log_all, log_sum, log_real, _, _, moved = _columns(
            columns, start + tl.arange(0, BLOCK), m, log_edge, omega, LOGS, WORK
        )
        within = (log_sum > LEAST) & (log_sum < MOST) & (log_all == log_all)
        wild = wild | ((b > 0) & ~within).to(tl.int32)
        taken = taken | (b > 0).to(tl.int32)
        lost += exp_of(log_all, WORK)
        larger = tl.maximum(most, tl.max(log_real + moved, 0))
        known = tl.where(tl.abs(larger) < INFINITY, larger, 0.0)
        before = exp_of(tl.minimum(most - known, 0.0), WORK)
        total = total * before + tl.sum(exp_of(log_real + moved - known, WORK), 0)
        most = larger
    nothing = (tl.max(taken, 0) > 0) & ~(tl.sum(lost, 0) >= LOST)
    log_mass = tl.where(tl.abs(most) < INFINITY, most + log_of(tl.where(total > 0, total, 1.0), WORK), 0.0)
    # What the program wrote is read by other threads of it.
    tl.debug_barrier()
    dummy = tl.load(old_g + m) + log_sum_exp(log_a_ptr, f_ptr, n + PRICED, WORK, BLOCK)
    tl.debug_barrier()
    g_edge = tl.load(old_g + m) + step(dummy, omega, WORK)
    mass, corner = tl.load(iterate_ptrs[2] + problem), tl.load(iterate_ptrs[3] + problem)
    rise = log_of(mass, WORK) - log_mass
    if PRICED:
        log_corner = tl.load(log_a_ptr + n) + tl.load(log_b_ptr + m) + f_edge + g_edge
        rise = (log_corner - log_mass) / 2
        mass = tl.maximum(exp_of((log_corner + log_mass) / 2, WORK), _TINY)
        corner = mass
    for start in tl.range(0, n, BLOCK):
        i = start + tl.arange(0, BLOCK)
        tl.store(f_ptr + i, tl.load(f_ptr + i, mask=i < n, other=0.0) + rise, mask=i < n)
    raised = expm1(rise, WORK)
    wrong, edge_share = tl.zeros((BLOCK,), tl.float64), tl.zeros((BLOCK,), tl.float64)
    for start in tl.range(0, m, BLOCK):
        j = start + tl.arange(0, BLOCK)
        b, g, _, _, log_real, log_total, share, moved = _columns(columns, j, m, log_edge, omega, LOGS, WORK)
        real = exp_of(log_real + moved, WORK)
        wrong += tl.abs(b * expm1(log_total + moved, WORK) + real * raised) * share
        edge_share += real * (1.0 - share)
        tl.store(g_ptr + j, g + moved, mask=j < m)
    tl.store(g_ptr + m, g_edge - rise)
    tl.store(next_ptrs[2] + problem, mass)
    tl.store(next_ptrs[3] + problem, corner)
    tl.store(next_ptrs[4] + problem, (tl.sum(wrong, 0) + corner * tl.abs(raised)) / mass)
    tl.store(next_ptrs[5] + problem, tl.sum(edge_share, 0))
    return (tl.max(wild, 0) > 0) | nothing


@triton.jit
@no_type_check
def _update(
    marginal_ptrs,
    iterate_ptrs,
    sum_ptrs,
    next_ptrs,
    running_ptr,
    wild_ptr,
    size,
    LEAST: tl.constexpr,
    MOST: tl.constexpr,
    LOST: tl.constexpr,
    LOGS: tl.constexpr,
    PRICED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    problem = tl.program_id(0).to(tl.int64)
    n, m = size
    if tl.load(running_ptr + problem) == 0:
        copy(iterate_ptrs[0] + problem * (n + 1), next_ptrs[0] + problem * (n + 1), n + 1, BLOCK)
        copy(iterate_ptrs[1] + problem * (m + 1), next_ptrs[1] + problem * (m + 1), m + 1, BLOCK)
        for k in tl.static_range(2, 6):
            tl.store(next_ptrs[k] + problem, tl.load(iterate_ptrs[k] + problem))
        tl.store(wild_ptr + problem, 0)
        return
    edge, omega = tl.load(sum_ptrs[2] + problem), tl.load(sum_ptrs[3] + problem)
    wild = update_one(
        marginal_ptrs,
        iterate_ptrs,
        sum_ptrs,
        next_ptrs,
        problem,
        edge,
        omega,
        size,
        LEAST,
        MOST,
        LOST,
        LOGS,
        tl.float64,
        PRICED,
        BLOCK,
    )
    tl.store(wild_ptr + problem, wild.to(tl.int8))


def update(
    marginals: Marginals,
    iterate: Iterate,
    rows: RowSums,
    log_columns: Tensor | None,
    edge: Tensor,
    omega: Tensor,
    running: Tensor,
    dtype: torch.dtype,
) -> tuple[Iterate, Tensor]:
    """See `border.update`."""
    weights, size, block = prepare(marginals, iterate)
    following = Iterate(*(torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in iterate))
    wild = torch.empty(running.shape, dtype=torch.int8, device=running.device)
    columns = rows.columns if log_columns is None else log_columns
    least, most = range_of_sums(dtype)
    if len(iterate.mass):
        with torch.cuda.device_of(iterate.f):
            _update[(len(iterate.mass),)](
                weights,
                tuple(x.contiguous() for x in iterate),
                tuple(x.contiguous() for x in (rows.moved, columns, edge, omega)),
                tuple(following),
                running.contiguous().view(torch.int8),
                wild,
                size,
                LEAST=least,
                MOST=most,
                LOST=math.exp(least),
                LOGS=log_columns is not None,
                PRICED=int(marginals.priced),
                BLOCK=block,
                num_warps=warps(block),
                enable_fp_fusion=True,
            )
    return following, wild.bool()
