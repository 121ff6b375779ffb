"""Each primitive in plain PyTorch: its definition, and the oracle of the faster versions.

All work on a batch of matrices `cost` (batch, n, m) in units of the regularisation, potentials in the same unit and weights
of total 1. A matrix may carry a *border*: one extra row and one extra column of cost 0 whose common corner is forbidden. The
border is two vectors, never a copy of the matrix: vectors of length n + 1 and m + 1 hold its weights and potentials last.
"""

from typing import NamedTuple

import torch
from torch import Tensor


def log_sums(cost: Tensor, potential: Tensor, weight: Tensor) -> Tensor:
    """Give log Σ_j weight_j · exp(potential_j − cost_ij), -inf for a row without an allowed partner of positive weight.

    The largest term of *positive* weight is divided out, so that nothing underflows. Terms of weight 0 stay in the sum as
    0 · exp(finite): their derivative with respect to the weight is the one-sided one instead of 0 or NaN, at the price of a
    clamp that only states far from any solution can reach.

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
    ceiling = torch.finfo(cost.dtype).max ** 0.25
    terms = (exponent - anchor.unsqueeze(-1)).exp().clamp(max=ceiling) * weight.unsqueeze(-2)
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


def density(cost: Tensor, f: Tensor, g: Tensor) -> Tensor:
    """Give exp(f_i + g_j − cost_ij), the plan relative to the product of the weights.

    Args:
        cost: (batch, n, m).
        f: (batch, n).
        g: (batch, m).

    Returns:
        (batch, n, m), 0 at forbidden pairs, bounded so that a weight of 0 times it is 0.
    """
    ceiling = torch.finfo(cost.dtype).max ** 0.25
    return (f.unsqueeze(-1) + g.unsqueeze(-2) - cost).exp().clamp(max=ceiling)


class RowPass(NamedTuple):
    """What one pass over the rows of a bordered plan finds.

    Attributes:
        block: (batch, n, m), b_j · exp(f_i + g_j − cost_ij); of no use where `stable` is False.
        log_total: (batch, n + 1), logarithm of each row's sum over its weight; 0 where a row has no partner.
        fraction: (batch, n + 1), the share of each row's sum that its real targets get.
        stable: (batch,), False where exponentials left the range of the dtype and the sums were formed in the log domain.
    """

    block: Tensor
    log_total: Tensor
    fraction: Tensor
    stable: Tensor


def row_pass(cost: Tensor, f: Tensor, g: Tensor, a: Tensor, b: Tensor, out: Tensor) -> RowPass:
    """Sum the rows of the bordered plan: one exponential an entry, in the log domain only where that leaves the range.

    After an update of the columns no entry exceeds its column's weight, so the largest need not be divided out.

    Args:
        cost: (batch, n, m).
        f: (batch, n + 1), the border's last.
        g: (batch, m + 1).
        a: (batch, n + 1).
        b: (batch, m + 1).
        out: (batch, n, m), overwritten: a new tensor of this size costs more than the arithmetic.
    """
    torch.sub((g + b.log())[:, None, :-1], cost, out=out)
    out.add_(f[:, :-1, None]).exp_()
    real, border = out.sum(-1), b[:, -1:] * (f[:, :-1] + g[:, -1:]).exp()
    total = real + border
    edge = log_sums(cost.new_zeros(cost.shape[0], 1, cost.shape[2]), g[:, :-1], b[:, :-1])
    stable = _in_range(total, a[:, :-1])
    log_total, fraction = _log(total), real / torch.where(total > 0, total, 1.0)
    wild = (~stable).nonzero().squeeze(-1)
    if wild.numel():
        log_real = log_sums(cost[wild], g[wild, :-1], b[wild, :-1])
        log_whole = add_border(log_real, g[wild, -1], b[wild, -1])
        found = log_whole.isfinite()
        log_total[wild] = torch.where(found, f[wild, :-1] + log_whole, 0.0)
        fraction[wild] = torch.where(found, (log_real - torch.where(found, log_whole, 0.0)).exp(), 0.0)
    edge_total = torch.where(edge.isfinite(), f[:, -1:] + edge, 0.0)
    return RowPass(
        out,
        torch.cat((log_total, edge_total), dim=-1),
        torch.cat((fraction, torch.ones_like(edge)), dim=-1),
        stable,
    )


class ColumnPass(NamedTuple):
    """What one pass over the columns of a bordered plan finds.

    Attributes:
        log_total: (batch, m), logarithm of each real column's sum over its weight; 0 for a weight of 0.
        log_fraction: (batch, m), logarithm of the share that comes from real sources; -inf for a weight of 0.
    """

    log_total: Tensor
    log_fraction: Tensor


def column_pass(cost: Tensor, rows: RowPass, f: Tensor, g: Tensor, a: Tensor, b: Tensor) -> ColumnPass:
    """Sum the real columns of the bordered plan after the rows were rescaled, without a new exponential where possible.

    Args:
        cost: (batch, n, m).
        rows: The pass before, whose block is overwritten.
        f: (batch, n + 1), already updated by `rows.log_total`.
        g: (batch, m + 1), not yet updated.
        a: (batch, n + 1).
        b: (batch, m + 1).
    """
    scaling = (a[:, :-1].log() - rows.log_total[:, :-1]).exp()
    real = rows.block.mul_(scaling.unsqueeze(-1)).sum(-2)
    edge = b[:, :-1] * a[:, -1:] * (f[:, -1:] + g[:, :-1]).exp()
    total, counted = real + edge, b[:, :-1] > 0
    log_total = torch.where(counted, _log(total) - b[:, :-1].log(), 0.0)
    log_fraction = torch.where(counted, real.log() - _log(total), -torch.inf)
    stable = rows.stable & _in_range(total, b[:, :-1]) & (_in_range(real.sum(-1, keepdim=True), b.amax(-1, keepdim=True)))
    wild = (~stable).nonzero().squeeze(-1)
    if wild.numel():
        log_real = log_sums(cost[wild].mT, f[wild, :-1], a[wild, :-1])
        log_whole = add_border(log_real, f[wild, -1], a[wild, -1])
        found = counted[wild] & log_whole.isfinite()
        log_total[wild] = torch.where(found, g[wild, :-1] + log_whole, 0.0)
        log_fraction[wild] = torch.where(found, log_real - torch.where(found, log_whole, 0.0), -torch.inf)
    return ColumnPass(log_total, log_fraction)


def _log(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 1.0).log()


def _in_range(sums: Tensor, weights: Tensor) -> Tensor:
    """Tell which problems' sums, wherever weights are positive, are neither overflown nor near the smallest numbers."""
    info = torch.finfo(sums.dtype)
    return ((sums > info.tiny / info.eps) & (sums < info.max) | (weights <= 0)).all(-1)
