"""Updates of a side by automatic differentiation's own rules, for gradients through the iterations.

Problems may carry a *border*: one extra row and one extra column of cost 0 whose common corner is forbidden. The
border is two vectors, never a copy of the matrix: vectors of length n + 1 and m + 1 hold its weights and potentials
last.
"""

import math

import torch
from torch import Tensor


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
