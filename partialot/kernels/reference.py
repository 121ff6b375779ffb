"""Each primitive in plain PyTorch: its definition, the oracle of the faster versions, and the path without them."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.kernels.blocks import Block, cut
from partialot.kernels.primitives import Entries, Prices, RowSums, RowUpdate, Source
from partialot.kernels.terms import CostTerms, StoredTerms, times_matrix, times_rows


def row_pass(entries: Entries, update: RowUpdate) -> RowSums:
    """Sum the rows, update their potentials, and sum the columns of what that gives.

    A row whose sum leaves the range of the type is updated exactly (ω = 1), however far that is, but for those of
    stored kernels, which are only asked for potentials near their own. Problems without a source get undefined numbers.

    Args:
        entries: The kernels.
        update: How rows are updated.
    """
    cost = entries.prices.cost
    totals, fractions, moves = (torch.zeros_like(entries.rows) for _ in range(3))
    found = RowSums(totals, fractions, moves, torch.zeros_like(entries.columns))
    relaxes = bool((update.relaxation != 1).any())
    for source, kind in ((Source.COST, CostTerms), (Source.STORED, StoredTerms)):
        chosen = entries.source == source
        if not bool(chosen.any()):
            continue
        form = kind(entries)
        for block in cut(cost, chosen):
            _pass_over(block, form, entries, update, found, relaxes=relaxes)
    return found


def _pass_over(
    block: Block,
    form: CostTerms | StoredTerms,
    entries: Entries,
    update: RowUpdate,
    found: RowSums,
    *,
    relaxes: bool,
) -> None:
    """Pass over one block, which is still in the cache when its columns are summed."""
    info, at = torch.finfo(entries.prices.cost.dtype), block.of_rows
    edge, terms = update.edge[at], form.of(block)
    log_sum = terms.log_row_sums()
    log_total = torch.logaddexp(log_sum, edge)
    wild = None
    if isinstance(form, CostTerms):
        wild = ~(log_total.abs() < math.log(info.max * info.eps) / 2)
        if bool(wild.any()):
            terms = form.stable(block)
            log_sum = terms.log_row_sums()
            log_total = torch.logaddexp(log_sum, edge)
    seen = log_total.isfinite()
    down = torch.where(seen, log_total, 0.0)
    step = -down
    if relaxes:
        omega = safe_relaxation(down, update.relaxation[block.problems].unsqueeze(-1))
        step = step * (omega if wild is None else torch.where(wild, 1.0, omega))
    moved = torch.minimum(step, update.ceiling[at] - entries.rows[at]) * seen
    block.write(found.log_total, log_total)
    block.write(found.fraction, (log_sum - down).exp() * seen)
    block.write(found.moved, moved)
    block.add(found.columns, terms.column_sums(update.log_weight[at] + moved))


def safe_relaxation(log_total: Tensor, omega: Tensor) -> Tensor:
    """Give ω where the dual gains enough by going that far, else 1, the exact update.

    With x the weight over the present sum, going ω of the way gains 1 + ω x log x − x^ω, per sum, in the dual. That is
    ω (2 − ω) times what the exact update gains where x is near 1, and a loss where x is large: one step of ω = 1.8 from
    far away throws everything off. Half of the former is demanded, so that the dual rises at every update and
    over-relaxation converges wherever Sinkhorn's algorithm does (after Thibault et al. 2017, who choose one factor for
    all).

    Args:
        log_total: Logarithm of each sum over its weight.
        omega: Wanted, at least 1 and below 2.
    """
    low = log_total.clamp(max=0.0)
    x = (-low).exp()
    gain, exact = 1 - omega * x * low - (-omega * low).exp(), 1 - x * low - x
    return torch.where(gain >= 0.5 * omega * (2 - omega) * exact, omega, 1.0)


def write_out(entries: Entries) -> None:
    """Write the kernels over `entries.stored`.

    Args:
        entries: Problems without a source keep what is stored.
    """
    assert entries.stored is not None
    fresh, scaled = entries.source == Source.COST, entries.source == Source.STORED
    if bool(fresh.any()):
        form = CostTerms(entries)
        for block in cut(entries.stored, fresh):
            form.write(block, entries.stored)
    for block in cut(entries.stored, scaled):
        rows, columns = entries.rows[block.of_rows].exp(), entries.columns[block.problems].exp()
        if block.meant is not None:
            rows, columns = (torch.where(block.meant, x, 1.0) for x in (rows, columns))
        matrix = entries.stored[block.of_rows]
        matrix.mul_(rows.to(matrix.dtype).unsqueeze(-1)).mul_(columns.to(matrix.dtype).unsqueeze(-2))


def sandwich(
    matrix: Float[Tensor, "batch n m"],
    x: Float[Tensor, "batch m"],
    scale: Float[Tensor, "batch n"],
    offset: Float[Tensor, "batch n"],
) -> tuple[Float[Tensor, "batch n"], Float[Tensor, "batch m"]]:
    """Give y = K x and z = Kᵀ (scale ∘ y + offset).

    Args:
        matrix: K.
        x: Float64, like all vectors.
        scale: Of each row.
        offset: Of each row.
    """
    y, z = torch.empty_like(offset), torch.zeros_like(x)
    for block in cut(matrix, torch.ones(matrix.shape[0], dtype=torch.bool)):
        at, entries = block.of_rows, matrix[block.of_rows]
        y[at] = times_rows(x[block.problems], entries)
        z[block.problems] += times_matrix(scale[at] * y[at] + offset[at], entries)
    return y, z


def column_log_sums(prices: Prices, rows: Float[Tensor, "batch n"]) -> Float[Tensor, "batch m"]:
    """Give log Σ_i exp(rows_i − unit · (cost_ij − shift)) with the largest terms divided out.

    Args:
        prices: The costs.
        rows: Any size, -inf for a row that takes no part.
    """
    total = rows.new_full((prices.cost.shape[0], prices.cost.shape[2]), -torch.inf)
    unit, shift = prices.unit[:, None, None], prices.shift[:, None, None]
    for block in cut(prices.cost, torch.ones(total.shape[0], dtype=torch.bool)):
        some = block.problems
        cost = (prices.cost[block.of_rows].double() - shift[some]) * unit[some]
        total[some] = torch.logaddexp(total[some], (rows[block.of_rows].unsqueeze(-1) - cost).logsumexp(-2))
    return total


def bounded_exp(exponent: Tensor) -> Tensor:
    """Give exp, so bounded that a weight of 0 times it is 0; solutions stay below 1 over the larger of two weights."""
    return exponent.clamp(max=0.75 * math.log(torch.finfo(exponent.dtype).max)).exp()
