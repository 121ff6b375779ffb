"""One sweep over a bordered plan with one exponential an entry.

After an update of the columns no entry of the plan exceeds its column's weight, so sums need not have their largest
term divided out. Only the problems whose sums leave the range of the dtype (first sweeps at small regularisation,
minute masses) are summed again in the log domain, by `reference`. Shapes and units are those of `reference`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from partialot.kernels.reference import add_border, log_sums


class Weights(NamedTuple):
    """Weights (batch, n + 1) with what every sweep needs of them.

    Attributes:
        value: The weights.
        log: Their logarithms, -inf for 0.
        idle: 1 where the weight is 0, else 0: added to sums that nothing contributes to, it makes their logarithm 0.
    """

    value: Tensor
    log: Tensor
    idle: Tensor

    @classmethod
    def of(cls, value: Tensor) -> "Weights":
        """Prepare weights for sweeps."""
        return cls(value, value.log(), (value <= 0).to(value.dtype))

    def select(self, kept: Tensor) -> "Weights":
        """Keep some problems of the batch."""
        return Weights(self.value[kept], self.log[kept], self.idle[kept])


class RowPass(NamedTuple):
    """What one pass over the rows finds.

    Attributes:
        block: (batch, n, m), b_j · exp(f_i + g_j − cost_ij); of no use where `stable` is False.
        log_total: (batch, n + 1), logarithm of each row's sum over its weight.
        fraction: (batch, n + 1), the share of each row's sum that its real targets get.
        stable: (batch,), whether the sums stayed in the range of the dtype.
    """

    block: Tensor
    log_total: Tensor
    fraction: Tensor
    stable: Tensor

    def select(self, kept: Tensor) -> "RowPass":
        """Keep some problems of the batch."""
        return RowPass(self.block[kept], self.log_total[kept], self.fraction[kept], self.stable[kept])


def row_pass(cost: Tensor, f: Tensor, g: Tensor, a: Weights, b: Weights, out: Tensor) -> RowPass:
    """Sum the rows of the plan at these potentials.

    Args:
        cost: (batch, n, m).
        f: (batch, n + 1), the border's last.
        g: (batch, m + 1).
        a: Source weights.
        b: Target weights.
        out: (batch, n, m), overwritten: a new tensor of this size costs more than the arithmetic.
    """
    tiny = torch.finfo(cost.dtype).tiny
    height = g + b.log
    torch.sub(height[:, None, :-1], cost, out=out)
    out.add_(f[:, :-1, None]).exp_()
    real = out.sum(-1)
    total = real + (f[:, :-1] + height[:, -1:]).exp()
    stable = _in_range(total + a.idle[:, :-1])
    # A source of weight 0 may have lost all its targets to rounding: it climbs until it sees one again.
    total = total.clamp(min=tiny)
    log_total, fraction = total.log(), real / total
    if not bool(stable.all()):
        wild = (~stable).nonzero().squeeze(-1)
        log_real = log_sums(cost[wild], g[wild, :-1], b.value[wild, :-1])
        log_whole = add_border(log_real, g[wild, -1], b.value[wild, -1])
        found = log_whole.isfinite()
        log_total[wild] = torch.where(found, f[wild, :-1] + log_whole, 0.0)
        fraction[wild] = torch.where(found, (log_real - torch.where(found, log_whole, 0.0)).exp(), 0.0)
    edge = f[:, -1:] + _log_sum_exp(height[:, :-1])
    return RowPass(
        out,
        torch.cat((log_total, edge), dim=-1),
        torch.cat((fraction, torch.ones_like(edge)), dim=-1),
        stable,
    )


class ColumnPass(NamedTuple):
    """What one pass over the columns finds.

    Attributes:
        log_total: (batch, m), logarithm of each real column's sum over its weight; 0 for a weight of 0.
        fraction: (batch, m), the share that comes from real sources; 0 for a weight of 0.
        log_mass: (batch, 1), logarithm of what the real block carries once the columns are rescaled.
        edge: (batch, 1), logarithm of the dummy target's sum over its weight, less its potential.
    """

    log_total: Tensor
    fraction: Tensor
    log_mass: Tensor
    edge: Tensor


def column_pass(cost: Tensor, rows: RowPass, f: Tensor, g: Tensor, a: Weights, b: Weights) -> ColumnPass:
    """Sum the real columns after the rows were rescaled, without a new exponential where possible.

    Args:
        cost: (batch, n, m).
        rows: The pass before, whose block is overwritten.
        f: (batch, n + 1), already less `rows.log_total`.
        g: (batch, m + 1), not yet updated.
        a: Source weights.
        b: Target weights.
    """
    idle = b.idle[:, :-1]
    real = rows.block.mul_((a.log[:, :-1] - rows.log_total[:, :-1]).exp().unsqueeze(-1)).sum(-2)
    total = real + (b.log[:, :-1] + a.log[:, -1:] + f[:, -1:] + g[:, :-1]).exp() + idle
    log_total = total.log() - torch.where(idle > 0, 0.0, b.log[:, :-1])
    fraction = real / total
    mass = (b.value[:, :-1] * fraction).sum(-1, keepdim=True)
    stable = rows.stable & _in_range(torch.cat((total, mass + b.idle.amin(-1, keepdim=True)), dim=-1))
    log_mass = mass.clamp(min=torch.finfo(cost.dtype).tiny).log()
    if not bool(stable.all()):
        wild = (~stable).nonzero().squeeze(-1)
        log_real = log_sums(cost[wild].mT, f[wild, :-1], a.value[wild, :-1])
        log_whole = add_border(log_real, f[wild, -1], a.value[wild, -1])
        found = (idle[wild] <= 0) & log_whole.isfinite()
        log_total[wild] = torch.where(found, g[wild, :-1] + log_whole, 0.0)
        log_fraction = torch.where(found, log_real - torch.where(found, log_whole, 0.0), -torch.inf)
        fraction[wild] = log_fraction.exp()
        log_mass[wild] = _log_sum_exp(b.log[wild, :-1] + log_fraction)
    return ColumnPass(log_total, fraction, log_mass, _log_sum_exp(a.log[:, :-1] + f[:, :-1]))


def _log_sum_exp(exponents: Tensor) -> Tensor:
    """Sum over the last dimension, a finite number even of nothing."""
    if not exponents.shape[-1]:
        return exponents.new_zeros(*exponents.shape[:-1], 1)
    total = torch.logsumexp(exponents, dim=-1, keepdim=True)
    return torch.where(total.isfinite(), total, 0.0)


def _in_range(sums: Tensor) -> Tensor:
    """Tell which problems' sums are neither overflown nor near the smallest numbers."""
    info = torch.finfo(sums.dtype)
    if not sums.shape[-1]:
        return sums.new_ones(sums.shape[0], dtype=torch.bool)
    # A NaN fails both comparisons.
    return (sums.amin(-1) > info.tiny / info.eps) & (sums.amax(-1) < info.max)
