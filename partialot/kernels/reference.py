"""Each primitive in plain PyTorch: its definition, the oracle of the faster versions, and the path without them."""

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.kernels.blocks import EVALUATED, STORED, Block, at_a_time, cut, may_ask
from partialot.kernels.points import CloudEntries
from partialot.kernels.primitives import Cloud, Entries, Prices, RowSums, RowUpdate, Source
from partialot.kernels.terms import CostTerms, StoredTerms, times_matrix, times_rows


def row_pass(entries: Entries, update: RowUpdate) -> RowSums:
    """Sum the rows, update their potentials, and sum the columns of what that gives.

    A row whose sum leaves the range of the type is updated exactly (ω = 1), however far that is, but for those of
    stored kernels, which are only asked for potentials near their own. Problems without a source get undefined numbers.

    Args:
        entries: The kernels.
        update: How rows are updated.
    """
    asks, storing = may_ask(entries.prices.cost.device), entries.source == Source.STORING
    if entries.stored is not None and bool(storing.any()):
        write_out(replace(entries, source=storing.to(torch.int8) * int(Source.COST)))
        entries = replace(entries, source=entries.source.masked_fill(storing, int(Source.COST)))
    totals, fractions, moves = (torch.zeros_like(entries.rows) for _ in range(3))
    found = RowSums(totals, fractions, moves, torch.zeros_like(entries.columns))
    limits = _Limits.of(entries, update)
    for source, kind, most in ((Source.COST, CostTerms, EVALUATED), (Source.STORED, StoredTerms, STORED)):
        chosen = entries.source == source
        if (source == Source.STORED and entries.stored is None) or (asks and not bool(chosen.any())):
            continue
        form = kind(entries)
        for block in cut(entries.prices.cost, chosen, most):
            _pass_over(block, form, entries.rows, update, limits, found)
    return found


class _Limits(NamedTuple):
    """Up to where logarithms of sums are trusted, whether that may be asked, and whether any update is relaxed."""

    wild: float
    asks: bool
    relaxes: bool

    @classmethod
    def of(cls, entries: Entries, update: RowUpdate) -> "_Limits":
        info = torch.finfo(entries.prices.cost.dtype)
        asks = may_ask(entries.prices.cost.device)
        return cls(math.log(info.max * info.eps) / 2, asks, not asks or bool((update.relaxation != 1).any()))


def _pass_over(
    block: Block, form: CostTerms | StoredTerms, rows: Tensor, update: RowUpdate, limits: _Limits, found: RowSums
) -> None:
    """Pass over one block, which is still in the cache when its columns are summed."""
    # Where it may not be asked whether sums are in range, the largest terms are divided out of all.
    terms = form.of(block) if isinstance(form, StoredTerms) or limits.asks else form.stable(block)
    at = block.of_rows
    edge, log_sum = update.edge[at], terms.log_row_sums()
    log_total = down = torch.logaddexp(log_sum, edge)
    tame = log_total.abs() < limits.wild
    omega = update.relaxation[block.problems].unsqueeze(-1)
    # Small operations are half of what a block costs: most blocks need no more than these.
    unusual = not limits.asks or not bool(tame.all())
    if unusual:
        if isinstance(form, CostTerms):
            if limits.asks:
                terms = form.stable(block)
                log_sum = terms.log_row_sums()
                log_total = torch.logaddexp(log_sum, edge)
            omega = torch.where(tame, omega, 1.0)
        # A row that sees nothing stays where it is.
        down = torch.where(log_total.isfinite(), log_total, 0.0)
    moved = -safe_relaxation(down, omega) * down if limits.relaxes else -down
    if update.ceiling is not None:
        moved = torch.minimum(moved, update.ceiling[at] - rows[at])
    if unusual:
        moved = moved * log_total.isfinite()
    block.write(found.log_total, log_total)
    block.write(found.fraction, (log_sum - down).exp())
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
        for block in cut(entries.stored, fresh, EVALUATED):
            form.write(block, entries.stored)
    for block in cut(entries.stored, scaled, STORED):
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
    for block in cut(matrix, torch.ones(matrix.shape[0], dtype=torch.bool), STORED):
        at, entries = block.of_rows, matrix[block.of_rows]
        y[at] = times_rows(x[block.problems], entries)
        z[block.problems] += times_matrix(scale[at] * y[at] + offset[at], entries)
    return y, z


def evaluated_sandwich(
    entries: Entries, x: Float[Tensor, "batch m"], scale: Float[Tensor, "batch n"], offset: Float[Tensor, "batch n"]
) -> tuple[Float[Tensor, "batch n"], Float[Tensor, "batch m"]]:
    """Give y = K x and z = Kᵀ (scale ∘ y + offset) of kernels that are evaluated for it.

    Args:
        entries: From costs, no entry larger than the type's range. Problems without a source get undefined numbers.
        x: Float64, like all vectors.
        scale: Of each row.
        offset: Of each row.
    """
    y, z, form = torch.zeros_like(offset), torch.zeros_like(x), CostTerms(entries)
    for block in cut(entries.prices.cost, entries.source == Source.COST, EVALUATED):
        at, terms = block.of_rows, form.stable(block)
        anchor = terms.anchor.exp()
        product = anchor * times_rows(x[block.problems] * terms.factor, terms.matrix)
        block.write(y, product)
        weighted = anchor * (scale[at] * product + offset[at])
        block.add(z, times_matrix(weighted, terms.matrix) * terms.factor)
    return y, z


def column_log_sums(prices: Prices, rows: Float[Tensor, "batch n"]) -> Float[Tensor, "batch m"]:
    """Give log Σ_i exp(rows_i − unit · (cost_ij − shift)) with the largest terms divided out.

    Args:
        prices: The costs.
        rows: Any size, -inf for a row that takes no part.
    """
    total = rows.new_full((prices.cost.shape[0], prices.cost.shape[2]), -torch.inf)
    unit, shift = prices.unit[:, None, None], prices.shift[:, None, None]
    for block in cut(prices.cost, torch.ones(total.shape[0], dtype=torch.bool), EVALUATED):
        some = block.problems
        cost = (prices.cost[block.of_rows].double() - shift[some]) * unit[some]
        total[some] = torch.logaddexp(total[some], (rows[block.of_rows].unsqueeze(-1) - cost).logsumexp(-2))
    return total


def column_minima(cost: Float[Tensor, "batch n m"], rows: Float[Tensor, "batch n"]) -> Float[Tensor, "batch m"]:
    """Give min_i (cost_ij − rows_i) in float64, `inf` of nothing.

    Args:
        cost: Costs, no more than may be copied in float64.
        rows: Potentials, float64; -inf for a row that is left out.
    """
    if not cost.shape[1]:
        return rows.new_full((cost.shape[0], cost.shape[2]), torch.inf)
    return (cost - rows.unsqueeze(-1)).amin(1)


def row_minima(cost: Float[Tensor, "batch n m"], columns: Float[Tensor, "batch m"]) -> Float[Tensor, "batch n"]:
    """Give min_j (cost_ij − columns_j), likewise."""
    return column_minima(cost.mT, columns)


def cloud_product(entries: CloudEntries, values: Float[Tensor, "#batch m k"]) -> Float[Tensor, "batch n k"]:
    """Give Σ_j exp(rows_i + columns_j − unit · (cost_ij − shift)) · values_jk, in float64.

    Args:
        entries: Of points; from costs. Problems without a source get undefined numbers.
        values: What they are multiplied with. Who evaluates costs on the way is accurate to 1e-5 of the sum of sizes,
            Σ_j entry_ij · max_k |values_jk|.
    """
    (batch, n), unit, shift = entries.rows.shape, entries.unit[:, None, None], entries.shift[:, None, None]
    found = entries.rows.new_zeros((batch, n, values.shape[-1]))
    step = max(1, at_a_time(values.device, EVALUATED) // max(1, batch * values.shape[-2]))
    for start in range(0, n, step):
        rows = slice(start, start + step)
        potentials = entries.rows[:, rows].unsqueeze(-1) + entries.columns.unsqueeze(-2)
        found[:, rows] = (potentials - unit * (entries.points.costs(rows) - shift)).exp() @ values.double()
    return found


def costs(cloud: Cloud) -> Float[Tensor, "batch n m"]:
    """Write the costs between points out, in float64."""
    x, y = cloud.x.double(), cloud.y.double()
    if cloud.squared:
        return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
    return cloud.constant - x @ y.mT


def bounded_exp(exponent: Tensor) -> Tensor:
    """Give exp, so bounded that a weight of 0 times it is 0; solutions stay below 1 over the larger of two weights."""
    return exponent.clamp(max=0.75 * math.log(torch.finfo(exponent.dtype).max)).exp()
