"""Sweeps that nobody has to decide anything about, without the host: it launches them whoever may have stopped.

A sweep is three launches: the pass over rows, the merge of its sums over columns, and the vectors' part, which decides
problem by problem whether there is to be another (`sweeping`). Problems that stopped are marked on the device, and the
launches that are left do nothing for them.
"""
# Kernels are programs of another language in Python's clothes.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

import math
from dataclasses import replace
from typing import NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from partialot.kernels.border import range_of_sums
from partialot.kernels.points import CloudKernels
from partialot.kernels.primitives import Marginals, Source
from partialot.kernels.stretch import Kernels, Limits, Rules, State, Stretch, pass_at, update_at
from partialot.kernels.triton.cloud import CloudPass
from partialot.kernels.triton.launching import Work
from partialot.kernels.triton.ledger import SCALARS, SWEEPS, Ledger
from partialot.kernels.triton.rows import RowPass
from partialot.kernels.triton.sweeping import sweep
from partialot.kernels.triton.vectors import prepare, warps

MOST = 32
"""Sweeps of a stretch: so many launches may be in vain. By reckoning, not by measurement: an easy problem is done by
then, and launches in vain take 10 microseconds each where a question to the device takes hundreds."""

_COST, _NOTHING = tl.constexpr(int(Source.COST)), tl.constexpr(int(Source.NOTHING))


@triton.jit(do_not_specialize=["size"])
@no_type_check
def _sweep(
    marginal_ptrs,
    side_ptrs,
    ledger_ptr,
    found_ptrs,
    next_ptrs,
    given_ptrs,
    source_ptr,
    size,
    RULES: tl.constexpr,
    RANGE: tl.constexpr,
    WORK: tl.constexpr,
    PRICED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    problem = tl.program_id(0).to(tl.int64)
    if tl.load(source_ptr + problem) == _COST:
        is_made, _ = sweep(
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
        if is_made == 0:
            tl.store(source_ptr + problem, _NOTHING)


class _Given(NamedTuple):
    """What passes read that sweeps write: the columns' and the edge's potentials, and whose they are."""

    columns: Tensor
    edge: Tensor
    source: Tensor


def stretch(kernels: Kernels, marginals: Marginals, state: State, limits: Limits, rules: Rules) -> Stretch:
    """See `partialot.kernels.stretch`; entries come from costs, rows fit, and no more than `MOST` sweeps are made.

    One number is asked of the device: the most sweeps that any problem may make.
    """
    book = Ledger.of(state, limits)
    entries, update = pass_at(kernels, marginals, book.state)
    given = _Given(entries.columns.contiguous(), update.edge.contiguous(), entries.source.clone())
    rows = RowPass(
        replace(entries, columns=given.columns, source=given.source),
        update._replace(edge=given.edge),
    )
    return _sweep_on(rows, given, book, marginals, rules, Work.of(kernels.prices.cost))


def cloud_stretch(kernels: CloudKernels, marginals: Marginals, state: State, limits: Limits, rules: Rules) -> Stretch:
    """Do the same between points whose costs are evaluated on the way."""
    book = Ledger.of(state, limits)
    f, g = book.f[:, :-1], book.g[:, :-1]
    entries, update = kernels.at(f, g, marginals.log_b[:, :-1]), update_at(marginals, book.state)
    given = _Given(entries.columns.contiguous(), update.edge.contiguous(), entries.source.clone())
    rows = CloudPass(
        entries._replace(columns=given.columns, source=given.source),
        update._replace(edge=given.edge),
    )
    return _sweep_on(rows, given, book, marginals, rules, Work.of(kernels.points.x))


def _sweep_on(
    rows: RowPass | CloudPass, given: _Given, book: Ledger, marginals: Marginals, rules: Rules, work: Work
) -> Stretch:
    """Make the pass, and as many sweeps with their passes as any problem may."""
    asked = torch.where(given.source == Source.NOTHING, 0.0, book.lines[SWEEPS]).clamp(max=MOST)
    count = int(asked.amax()) if len(asked) else 0
    found = rows.make()
    weights, size, block = prepare(marginals, book.state.iterate)
    room = torch.empty_like(book.f), torch.empty_like(book.g), torch.empty_like(book.lines[:SCALARS])
    least, most = range_of_sums(work.dtype)
    for _ in range(count):
        with torch.cuda.device_of(book.f):
            _sweep[(len(book.f),)](
                weights,
                (book.f, book.g),
                book.lines,
                tuple(found),
                room,
                (given.columns, given.edge),
                given.source,
                (len(book.f), *size),
                RULES=rules,
                RANGE=(least, most, math.exp(least)),
                WORK=work.kind,
                PRICED=int(marginals.priced),
                BLOCK=block,
                num_warps=warps(block),
                enable_fp_fusion=True,
            )
        rows.make()
    return book.stretch(found)
