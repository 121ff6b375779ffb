"""The sweep that belongs to a pass, made where nothing has to be decided by others, one program a problem.

Definition: `partialot.kernels.stretch`. It is made of `measuring`, `deciding` and `updating`, by one launch.
"""
# Kernels are programs of another language in Python's clothes.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from typing import no_type_check

import triton
import triton.language as tl

from partialot.kernels.triton import ledger
from partialot.kernels.triton.deciding import is_done, observe_pace, observe_progress, observe_watch, stalls
from partialot.kernels.triton.exponents import INFINITY
from partialot.kernels.triton.measuring import measure_one
from partialot.kernels.triton.updating import update_one

_SCALARS, _MADE = tl.constexpr(ledger.SCALARS), tl.constexpr(ledger.MADE)
PACE = tl.constexpr(ledger.PACE)
_PROGRESS, _WATCH, _LIMITS = (tl.constexpr(x) for x in (ledger.PROGRESS, ledger.WATCH, ledger.LIMITS))


@triton.jit
@no_type_check
def _farthest(one_ptr, other_ptr, count, BLOCK: tl.constexpr):
    """Give the largest difference, infinite where one is no number."""
    most = tl.zeros((BLOCK,), dtype=tl.float64)
    for start in tl.range(0, count, BLOCK):
        k = start + tl.arange(0, BLOCK)
        one, other = tl.load(one_ptr + k, mask=k < count, other=0.0), tl.load(other_ptr + k, mask=k < count, other=0.0)
        size = tl.abs(one - other)
        most = tl.maximum(most, tl.where(size == size, size, INFINITY))
    return tl.max(most, 0)


@triton.jit
@no_type_check
def _take(iterate_ptrs, next_ptrs, given_ptrs, log_b_ptr, problem, size, BLOCK: tl.constexpr):
    """Go on from the next iterate, and prepare what a pass over it is given."""
    n, m = size
    f_ptr, g_ptr = iterate_ptrs[0] + problem * (n + 1), iterate_ptrs[1] + problem * (m + 1)
    new_f, new_g = next_ptrs[0] + problem * (n + 1), next_ptrs[1] + problem * (m + 1)
    log_b_ptr += problem * (m + 1)
    border = tl.load(log_b_ptr + m) + tl.load(new_g + m)
    for start in tl.range(0, n + 1, BLOCK):
        i = start + tl.arange(0, BLOCK)
        f = tl.load(new_f + i, mask=i <= n, other=0.0)
        tl.store(f_ptr + i, f, mask=i <= n)
        tl.store(given_ptrs[1] + problem * n + i, border + f, mask=i < n)
    for start in tl.range(0, m + 1, BLOCK):
        j = start + tl.arange(0, BLOCK)
        g, log_b = tl.load(new_g + j, mask=j <= m, other=0.0), tl.load(log_b_ptr + j, mask=j <= m, other=0.0)
        tl.store(g_ptr + j, g, mask=j <= m)
        tl.store(given_ptrs[0] + problem * m + j, g + log_b, mask=j < m)
    for k in tl.static_range(2, 6):
        tl.store(iterate_ptrs[k] + problem, tl.load(next_ptrs[k] + problem))


@triton.jit
@no_type_check
def _observe(own_ptr, batch, error, best, stalled, travelled, made, RULES: tl.constexpr, WORK: tl.constexpr):
    """Write down what a sweep led to."""
    pace = ()
    for k in tl.static_range(5):
        pace += (tl.load(own_ptr + (PACE + k) * batch),)
    watch = ()
    for k in tl.static_range(4):
        watch += (tl.load(own_ptr + (_WATCH + k) * batch),)
    held = made < tl.load(own_ptr + (_LIMITS + 5) * batch)
    pace, watch = observe_pace(pace, error, held, RULES, WORK), observe_watch(watch, error, best, RULES)
    for k in tl.static_range(5):
        tl.store(own_ptr + (PACE + k) * batch, pace[k])
    progress = (best, stalled, travelled)
    for k in tl.static_range(3):
        tl.store(own_ptr + (_PROGRESS + k) * batch, progress[k])
        tl.store(own_ptr + (_WATCH + k) * batch, watch[k])
    tl.store(own_ptr + _MADE * batch, made)


@triton.jit
@no_type_check
def sweep(
    marginal_ptrs,
    side_ptrs,
    ledger_ptr,
    found_ptrs,
    next_ptrs,
    given_ptrs,
    problem,
    size,
    RULES: tl.constexpr,
    RANGE: tl.constexpr,
    WORK: tl.constexpr,
    PRICED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Make a sweep; give whether it was made, and how far any potential of a real node went.

    `side_ptrs` are the potentials of the iterate, `ledger_ptr` all that is in `ledger.Ledger` beside them, `found_ptrs`
    what the pass found, as `RowSums`, `next_ptrs` room for another iterate: its potentials, and its other numbers as in
    the ledger; the columns and the edge of the next pass go to `given_ptrs`. RANGE holds the natural logarithms between
    which sums over columns are to be, and the number that the first belongs to.
    """
    batch, n, m = size
    own_ptr = ledger_ptr + problem
    iterate_ptrs, room_ptrs = (side_ptrs[0], side_ptrs[1]), (next_ptrs[0], next_ptrs[1])
    for k in tl.static_range(_SCALARS):
        iterate_ptrs += (ledger_ptr + k * batch,)
        room_ptrs += (next_ptrs[2] + k * batch,)
    is_made, moved = 0, tl.full((), 0.0, tl.float64)
    made = tl.load(own_ptr + _MADE * batch)
    if made < tl.load(own_ptr + (_LIMITS + 4) * batch):
        edge, error, _ = measure_one(
            marginal_ptrs, iterate_ptrs, found_ptrs[0], found_ptrs[1], problem, (n, m), WORK, PRICED, BLOCK
        )
        progress = tl.load(own_ptr + _PROGRESS * batch), tl.load(own_ptr + (_PROGRESS + 1) * batch)
        progress = observe_progress(progress, error)
        tol, floor = tl.load(own_ptr + _LIMITS * batch), tl.load(own_ptr + (_LIMITS + 1) * batch)
        watch = ()
        for k in tl.static_range(4):
            watch += (tl.load(own_ptr + (_WATCH + k) * batch),)
        # What decides is read before anything is written: a thread that came late would decide otherwise.
        travelled = tl.load(own_ptr + (_PROGRESS + 2) * batch)
        if ~(is_done(progress, error, tol, floor, RULES) | stalls(watch, error, progress[0], RULES)):
            omega = tl.load(own_ptr + PACE * batch)
            sums = found_ptrs[2], found_ptrs[3]
            wild = update_one(
                marginal_ptrs,
                iterate_ptrs,
                sums,
                room_ptrs,
                problem,
                edge,
                omega,
                (n, m),
                RANGE[0],
                RANGE[1],
                RANGE[2],
                False,
                WORK,
                PRICED,
                BLOCK,
            )
            # What the program wrote is read by other threads of it.
            tl.debug_barrier()
            f, g = problem * (n + 1), problem * (m + 1)
            moved = tl.maximum(
                _farthest(iterate_ptrs[0] + f, room_ptrs[0] + f, n, BLOCK),
                _farthest(iterate_ptrs[1] + g, room_ptrs[1] + g, m, BLOCK),
            )
            # All threads have read the iterate, which is written over.
            tl.debug_barrier()
            travelled += moved
            reach, settled = tl.load(own_ptr + (_LIMITS + 2) * batch), tl.load(own_ptr + (_LIMITS + 3) * batch)
            if ~wild & (travelled <= reach) & (moved > settled):
                _take(iterate_ptrs, room_ptrs, given_ptrs, marginal_ptrs[3], problem, (n, m), BLOCK)
                _observe(own_ptr, batch, error, progress[0], progress[1], travelled, made + 1.0, RULES, WORK)
                is_made = 1
    return is_made, moved
