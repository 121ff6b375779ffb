"""Each primitive in plain PyTorch: its definition, the oracle of the faster versions, and the path without them.

Problems may carry a *border*: one extra row and one extra column of cost 0 whose common corner is forbidden. The
border is two vectors, never a copy of the matrix: vectors of length n + 1 and m + 1 hold its weights and potentials
last.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.kernels.primitives import Entries, Prices, RowSums, RowUpdate, Source

_BLOCK = 1 << 18
"""Entries computed at a time on a CPU: temporaries that stay in its cache."""


def row_pass(entries: Entries, update: RowUpdate) -> RowSums:
    """Sum the rows, update their potentials, and sum the columns of what that gives.

    A row whose sum leaves the range of the type is updated exactly (ω = 1), however far that is. Problems without a
    source get undefined numbers.

    Args:
        entries: The kernels.
        update: How rows are updated.
    """
    storing = entries.source == Source.STORING
    if bool(storing.any()):
        write_out(replace(entries, source=storing.to(torch.int8) * int(Source.COST)))
    cost = entries.prices.cost
    found = tuple(torch.empty_like(entries.rows) for _ in range(3))
    columns = torch.zeros_like(entries.columns)
    info = torch.finfo(cost.dtype)
    limit, place = math.log(info.max * info.eps) / 2, _Place.of(entries)
    for rows in _row_blocks(cost):
        exponents = _exponents(entries, rows, place)
        terms = exponents.exp()
        log_sum = terms.sum(-1).double().log()
        edge = update.edge[:, rows]
        wild = ~(torch.logaddexp(log_sum, edge).abs() < limit)
        out_of_range = bool(wild.any())
        if out_of_range:
            log_sum = torch.where(wild, _log_sum_exp(exponents.double()), log_sum)
        log_total = torch.logaddexp(log_sum, edge)
        seen = log_total.isfinite()
        down = torch.where(seen, log_total, 0.0)
        omega = torch.where(wild, 1.0, safe_relaxation(down, update.relaxation.unsqueeze(-1)))
        moved = -omega * down
        if update.ceiling is not None:
            moved = torch.minimum(moved, update.ceiling[:, rows] - entries.rows[:, rows])
        moved = moved * seen
        for store, value in zip(found, (log_total, (log_sum - down).exp() * seen, moved), strict=True):
            store[:, rows] = value
        scale = update.log_weight[:, rows] + moved
        if out_of_range:
            terms = (exponents + scale.to(cost.dtype).unsqueeze(-1)).exp_()
            columns += terms.sum(-2)
        else:
            columns += torch.bmm(scale.exp().to(cost.dtype).unsqueeze(-2), terms).squeeze(-2)
    log_totals, fractions, moves = found
    return RowSums(log_totals, fractions, moves, columns)


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
    wanted, place = (entries.source != Source.NOTHING)[:, None, None], _Place.of(entries)
    for rows in _row_blocks(entries.prices.cost):
        block = entries.stored[:, rows]
        block.copy_(torch.where(wanted, _exponents(entries, rows, place).exp_(), block))


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
    y = torch.bmm(x.to(matrix.dtype).unsqueeze(-2), matrix.mT).squeeze(-2).to(x.dtype)
    z = torch.bmm((scale * y + offset).to(matrix.dtype).unsqueeze(-2), matrix).squeeze(-2).to(x.dtype)
    return y, z


def column_log_sums(prices: Prices, rows: Float[Tensor, "batch n"]) -> Float[Tensor, "batch m"]:
    """Give log Σ_i exp(rows_i − unit · (cost_ij − shift)) with the largest terms divided out.

    Args:
        prices: The costs.
        rows: Any size, -inf for a row that takes no part.
    """
    total = rows.new_full((prices.cost.shape[0], prices.cost.shape[2]), -torch.inf)
    unit, shift = prices.unit[:, None, None], prices.shift[:, None, None]
    for block in _row_blocks(prices.cost):
        exponents = rows[:, block].unsqueeze(-1) - (prices.cost[:, block].double() - shift) * unit
        total = torch.logaddexp(total, _log_sum_exp(exponents.mT))
    return total


class _Place(NamedTuple):
    """Potentials as two numbers of the working type each, the first on a grid on which sums of two are exact.

    The difference of such a sum and a like cost is then exact too, however large both are, and errors of marginals do
    not grow with the cost over `reg`.
    """

    rows: tuple[Tensor, Tensor]
    columns: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, entries: Entries) -> "_Place":
        dtype = entries.prices.cost.dtype
        sides = (entries.rows, entries.columns)
        sizes = [torch.where(x.isfinite(), x.abs(), 0.0) for x in sides]
        largest = torch.cat(sizes, dim=-1).amax(-1, keepdim=True).clamp(min=1.0)
        grid = torch.exp2(largest.log2().ceil() + 1) * torch.finfo(dtype).eps

        def split(x: Tensor) -> tuple[Tensor, Tensor]:
            high = torch.where(x.isfinite(), (x / grid).round() * grid, x)
            return high.to(dtype), torch.where(x.isfinite(), x - high, 0.0).to(dtype)

        return cls(split(entries.rows), split(entries.columns))


def _exponents(entries: Entries, rows: slice, place: _Place) -> Tensor:
    """Give the logarithms of some rows of the kernels, in the type of the costs."""
    prices = entries.prices
    unit, shift = (x.to(prices.cost.dtype)[:, None, None] for x in (prices.unit, prices.shift))
    high, low = (x[:, rows].unsqueeze(-1) for x in place.rows)
    exponents = (shift - prices.cost[:, rows]).mul_(unit).add_(high + place.columns[0].unsqueeze(-2))
    exponents += low + place.columns[1].unsqueeze(-2)
    if entries.stored is None:
        return exponents
    stored = (entries.source == Source.STORED)[:, None, None]
    near = entries.rows[:, rows].unsqueeze(-1) + entries.columns.unsqueeze(-2)
    return torch.where(stored, near.to(exponents.dtype) + entries.stored[:, rows].log(), exponents)


def _log_sum_exp(exponents: Tensor) -> Tensor:
    """Sum over the last dimension, -inf of nothing."""
    if not exponents.shape[-1]:
        return exponents.new_full(exponents.shape[:-1], -torch.inf)
    return exponents.logsumexp(-1)


def _row_blocks(cost: Tensor) -> Iterator[slice]:
    """Cut the rows into blocks whose temporaries stay in a CPU's cache, or are few launches on a GPU."""
    batch, n, m = cost.shape
    entries = _BLOCK if cost.device.type == "cpu" else 1 << 26
    step = max(1, entries // max(1, batch * m))
    return (slice(start, min(n, start + step)) for start in range(0, n, step))


def log_sums(cost: Tensor, potential: Tensor, weight: Tensor) -> Tensor:
    """Give log Σ_j weight_j · exp(potential_j − cost_ij), -inf for a row without an allowed partner of positive weight.

    The largest term of *positive* weight is divided out, so that nothing underflows. Terms of weight 0 stay in the sum
    as 0 · exp(finite): their derivative with respect to the weight is the one-sided one instead of 0 or NaN, at the
    price of a clamp that only states far from any solution can reach.

    Args:
        cost: (batch, n, m); `inf` where a pair is forbidden.
        potential: (batch, m), finite.
        weight: (batch, m), at least 0.

    Returns:
        (batch, n).
    """
    exponent = potential.unsqueeze(-2) - cost
    counted = exponent.detach().masked_fill(weight.unsqueeze(-2) <= 0, -torch.inf)
    largest = counted.amax(-1) if cost.shape[-1] else cost.new_full(cost.shape[:-1], -torch.inf)
    anchor = torch.where(largest.isfinite(), largest, 0.0)
    # Before the exponential: the derivative of a bounded infinity would be 0 times infinity.
    ceiling = 0.25 * math.log(torch.finfo(cost.dtype).max)
    terms = (exponent - anchor.unsqueeze(-1)).clamp(max=ceiling).exp() * weight.unsqueeze(-2)
    total = terms.sum(-1)
    found = largest.isfinite()
    return torch.where(found, anchor + torch.where(found, total, 1.0).log(), -torch.inf)


def add_border(log_sum: Tensor, potential: Tensor, weight: Tensor) -> Tensor:
    """Add the border's one term, weight · exp(potential), to sums given by their logarithm.

    Args:
        log_sum: (batch, n), may be -inf.
        potential: (batch,), finite.
        weight: (batch,), at least 0.

    Returns:
        (batch, n); -inf where nothing was added to nothing.
    """
    potential, weight = potential.unsqueeze(-1), weight.unsqueeze(-1)
    anchor = torch.where(weight > 0, torch.maximum(log_sum, potential), log_sum).detach()
    found = anchor.isfinite()
    anchor = torch.where(found, anchor, 0.0)
    kept = torch.where(log_sum.isfinite(), log_sum - anchor, 0.0).exp() * log_sum.isfinite()
    total = kept + weight * (potential - anchor).clamp(max=40.0).exp()
    return torch.where(found, anchor + torch.where(found, total, 1.0).log(), -torch.inf)


def softmin(cost: Tensor, potential: Tensor, weight: Tensor) -> Tensor:
    """Update one side of the potentials, border included: −log Σ_j weight_j · exp(potential_j − cost_ij).

    A node without any allowed partner keeps 0: its weight is 0 or the problem was refused.

    Args:
        cost: (batch, n, m), without its border.
        potential: (batch, m + 1), the border's last.
        weight: (batch, m + 1), likewise.

    Returns:
        (batch, n + 1), the border's last.
    """
    inner = add_border(log_sums(cost, potential[:, :-1], weight[:, :-1]), potential[:, -1], weight[:, -1])
    flat = cost.new_zeros(cost.shape[0], 1, cost.shape[2])
    log_sum = torch.cat((inner, log_sums(flat, potential[:, :-1], weight[:, :-1])), dim=-1)
    return torch.where(log_sum.isfinite(), -log_sum, 0.0)


def bounded_exp(exponent: Tensor) -> Tensor:
    """Give exp, so bounded that a weight of 0 times it is 0; solutions stay below 1 over the larger of two weights."""
    return exponent.clamp(max=0.75 * math.log(torch.finfo(exponent.dtype).max)).exp()
