"""The vector half of a sweep in plain PyTorch: the border, the columns, the mass, and how far all are from right.

Between two passes over the matrix everything is known by vectors: the sums over rows, and those over columns after the
rows' update. Here it is judged what the potentials are worth, and the columns, the dummies and the mass are updated.
The rows of a problem may be on several ranks; columns, dummies and mass then come out equal on all of them.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from partialot.communicator import ALONE, Communicator
from partialot.kernels.primitives import Iterate, Marginals, Measured, RowSums
from partialot.kernels.reference import safe_relaxation


def measure(marginals: Marginals, iterate: Iterate, rows: RowSums, ranks: Communicator = ALONE) -> Measured:
    """Judge the present potentials.

    Args:
        marginals: The weights.
        iterate: The potentials, and what the update that led to them left of the columns' violation.
        rows: What a pass found at them.
        ranks: Between which rows are divided; `moved` is then this rank's part.
    """
    edge = log_dummy(marginals, marginals.log_b, iterate.g, iterate.f)
    carried = marginals.a[:, :-1] * rows.fraction
    error = (carried * _off(rows.log_total)).sum(-1)
    of_edge = (iterate.edge_share + iterate.corner) * _off(edge) * (marginals.a[:, -1] > 0)
    error = (error + ranks.share(of_edge)) / iterate.mass + ranks.share(iterate.column_error)
    # All decisions follow from this one sum, which is equal on all ranks to the last bit.
    error = ranks.sum(error).nan_to_num(nan=torch.inf)
    return Measured(edge, error, (carried * rows.log_total.exp()).sum(-1))


def update(
    marginals: Marginals,
    iterate: Iterate,
    rows: RowSums,
    log_columns: Float[Tensor, "batch m"] | None,
    edge: Float[Tensor, " batch"],
    omega: Float[Tensor, " batch"],
    running: Bool[Tensor, " batch"],
    dtype: torch.dtype,
    ranks: Communicator = ALONE,
) -> tuple[Iterate, Bool[Tensor, " batch"]]:
    """Update the rows, the columns, then the mass.

    The mass step raises the real sources by log(M / real mass) and lowers the dummy target by as much: the dummies'
    sums stay what they are, and the dual is at its maximum along that line.

    Args:
        marginals: The weights.
        iterate: The present potentials.
        rows: What the pass found at them.
        log_columns: Logarithm of the sums over columns after the rows' update, without the border; None = that of
            what the pass found, which may be out of range.
        edge: From `measure`.
        omega: How far of the way potentials go, that of the pass.
        running: The problems to be updated; the others keep what they have.
        dtype: In which the sums over columns were taken.
        ranks: Between which rows are divided.

    Returns:
        The next iterate, and in which problems a sum over columns left the range of `dtype`: it has to be given with
        the largest term divided out, and the update to be made again.
    """
    log_columns = rows.columns.log() if log_columns is None else log_columns
    factor = omega.unsqueeze(-1)
    f = iterate.f[:, :-1] + rows.moved
    f_edge = iterate.f[:, -1:] + _step(edge.unsqueeze(-1), factor)
    log_edge = marginals.log_a[:, -1:] + f_edge + iterate.g[:, :-1] + marginals.log_b[:, :-1]
    log_sum = torch.logaddexp(log_columns, log_edge)
    wild = _out_of_range(marginals, log_columns, log_sum, dtype) & running
    columns = _Columns.of(marginals, log_columns, log_sum)
    moved = _step(columns.log_total, factor)
    log_mass = log_sum_exp(columns.log_real + moved).unsqueeze(-1)
    dummy = log_dummy(marginals, marginals.log_a, torch.cat((f, f_edge), dim=-1), iterate.g, ranks).unsqueeze(-1)
    g_edge = iterate.g[:, -1:] + _step(dummy, factor)
    mass, corner = iterate.mass, iterate.corner
    if marginals.priced:
        # Raised by t, the real block grows by e^t and the corner falls by as much; the dual wants them equal.
        log_corner = marginals.log_a[:, -1:] + marginals.log_b[:, -1:] + f_edge + g_edge
        rise = (log_corner - log_mass) / 2
        mass = ((log_corner + log_mass) / 2).exp().squeeze(-1).clamp(min=torch.finfo(torch.float64).tiny)
        corner = mass
    else:
        rise = mass.log().unsqueeze(-1) - log_mass
    # What columns are off by, without differences of like numbers: the mass may be minute.
    real = (columns.log_real + moved).exp()
    off = (marginals.b[:, :-1] * (columns.log_total + moved).expm1() + real * rise.expm1()).abs()
    wrong = (off * columns.share).sum(-1) + corner * rise.squeeze(-1).expm1().abs()
    following = Iterate(
        f=torch.cat((f + rise, f_edge), dim=-1),
        g=torch.cat((iterate.g[:, :-1] + moved, g_edge - rise), dim=-1),
        mass=mass,
        corner=corner,
        column_error=wrong / mass,
        edge_share=(real * (1 - columns.share)).sum(-1),
    )
    kept = (torch.where(running.view(-1, *[1] * (x.ndim - 1)), x, y) for x, y in zip(following, iterate, strict=True))
    return Iterate(*kept), wild


class _Columns(NamedTuple):
    """Sums over the real columns before their update, 1 with nothing from real sources where a column takes nothing.

    Attributes:
        log_real: (batch, m), logarithm of what comes from real sources.
        log_total: (batch, m), logarithm of the whole sum over the weight.
        share: (batch, m), the part of it that comes from real sources.
    """

    log_real: Tensor
    log_total: Tensor
    share: Tensor

    @classmethod
    def of(cls, marginals: Marginals, log_real: Tensor, log_sum: Tensor) -> "_Columns":
        found = (marginals.b[:, :-1] > 0) & log_sum.isfinite()
        return cls(
            torch.where(found, log_real, -torch.inf),
            torch.where(found, log_sum - marginals.log_b[:, :-1], 0.0),
            torch.where(found, (log_real - log_sum).exp(), 0.0),
        )


def range_of_sums(dtype: torch.dtype) -> tuple[float, float]:
    """Give the logarithms between which sums of numbers of a type keep all their digits."""
    info = torch.finfo(dtype)
    return math.log(info.tiny / info.eps), math.log(info.max)


def _out_of_range(
    marginals: Marginals, log_real: Tensor, log_sum: Tensor, dtype: torch.dtype
) -> Bool[Tensor, " batch"]:
    least, most = range_of_sums(dtype)
    taking = marginals.b[:, :-1] > 0
    lost = (log_real.exp().sum(-1) < math.exp(least)) & taking.any(-1)
    return lost | (taking & ~((log_sum > least) & (log_sum < most))).any(-1)


def log_dummy(
    marginals: Marginals, log_weights: Tensor, others: Tensor, own: Tensor, ranks: Communicator = ALONE
) -> Float[Tensor, " batch"]:
    """Give the logarithm of a dummy's sum over its weight; where mass has a price, the other dummy is in it."""
    seen = slice(None, None if marginals.priced else -1)
    return own[:, -1] + log_sum_exp(log_weights[:, seen] + others[:, seen], ranks)


def _step(log_total: Tensor, omega: Tensor) -> Tensor:
    """Give how far potentials move whose sums over their weights have these logarithms."""
    return -safe_relaxation(log_total, omega) * log_total


def _off(log_total: Tensor) -> Tensor:
    """Give how far a sum over its weight is from 1; a sum far above 1 counts more, a missing one as 1."""
    return log_total.expm1().abs() * log_total.exp().clamp(min=1.0)


def log_sum_exp(exponents: Tensor, ranks: Communicator = ALONE) -> Tensor:
    """Sum over the last dimension, and over ranks where that is one of sources; a finite number even of nothing."""
    nothing = not exponents.shape[-1]
    total = exponents.new_full(exponents.shape[:-1], -torch.inf) if nothing else torch.logsumexp(exponents, dim=-1)
    total = ranks.log_sum_exp(total)
    return torch.where(total.isfinite(), total, 0.0)
