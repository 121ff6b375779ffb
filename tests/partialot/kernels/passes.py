"""Passes over Gibbs kernels to be tested, and what they are to find: sums over kernels written out in float64."""

import torch
from torch import Tensor
from torch.testing import assert_close

from partialot.kernels.primitives import Entries, Prices, RowSums, RowUpdate, Source

inf = torch.inf
SIZES = [(3, 70, 33), (1, 1, 1), (2, 5, 200), (2, 301, 17)]
DTYPES = [torch.float32, torch.float64]
ACCURACY = {torch.float32: 4e-6, torch.float64: 1e-13}


def entries(size: tuple[int, int, int], dtype: torch.dtype, *, spread: float = 3.0, forbid: bool = False) -> Entries:
    """Kernels whose rows sum to about 1, as during a solve, however large the costs are in their unit."""
    batch, n, m = size
    cost = torch.rand(size).to(dtype) * 2 - 0.5
    if forbid:
        cost[torch.rand(size) < 0.3] = inf
    prices = Prices(
        cost, torch.full((batch,), spread, dtype=torch.float64), torch.full((batch,), -0.5, dtype=torch.float64)
    )
    rows = spread * torch.rand(batch, n).double()
    return Entries(prices, None, sources(batch, Source.COST), rows, torch.randn(batch, m).double() - 3)


def sources(batch: int, source: Source) -> Tensor:
    return torch.full((batch,), int(source), dtype=torch.int8)


def update(size: tuple[int, int, int], *, omega: float = 1.0, edge: float = -2.0, ceiling: float = inf) -> RowUpdate:
    batch, n, _ = size
    edges = torch.full((batch, n), edge, dtype=torch.float64) + (0.0 if edge == -inf else torch.rand(batch, n).double())
    # Each row has a ceiling of its own.
    ceilings = ceiling + 0.1 * torch.rand(batch, n).double()
    return RowUpdate(edges, torch.randn(batch, n).double(), torch.full((batch,), omega, dtype=torch.float64), ceilings)


def written_out(given: Entries) -> Tensor:
    """Logarithms of the kernel's entries, in float64."""
    place = given.rows[..., None] + given.columns[:, None]
    prices = given.prices
    stored = given.stored is not None and bool((given.source == Source.STORED).all())
    if stored and given.stored is not None:
        return place + given.stored.double().log()
    return place - (prices.cost.double() - prices.shift[:, None, None]) * prices.unit[:, None, None]


def expected_sums(given: Entries, change: RowUpdate, omega: float) -> RowSums:
    logs = written_out(given)
    real = logs.logsumexp(-1)
    total = torch.logaddexp(real, change.edge)
    moved = torch.minimum(-allowed(total, omega) * total, ceiling_of(change) - given.rows)
    columns = (logs + (change.log_weight + moved)[..., None]).logsumexp(-2).exp()
    return RowSums(total, (real - total).exp(), moved, columns)


def ceiling_of(change: RowUpdate) -> Tensor:
    """No ceiling is one that is never reached."""
    return torch.full_like(change.edge, inf) if change.ceiling is None else change.ceiling


def only(change: RowUpdate, chosen: Tensor | slice) -> RowUpdate:
    parts = (change.edge, change.log_weight, change.relaxation, ceiling_of(change))
    return RowUpdate(*(part[chosen] for part in parts))


def allowed(log_total: Tensor, omega: float) -> Tensor:
    """The factor ω where the dual, step − sum · exp(step) for a weight of 1, gains enough by it."""

    def gain(factor: float) -> Tensor:
        step = -factor * log_total
        return step - log_total.exp() * step.expm1()

    enough = gain(omega) >= 0.5 * omega * (2 - omega) * gain(1.0)
    return torch.where(enough, torch.full_like(log_total, omega), 1.0)


def assert_sums(found: RowSums, expected: RowSums, accuracy: float) -> None:
    for name, value in expected._asdict().items():
        assert_close(getattr(found, name), value, rtol=accuracy, atol=accuracy, msg=lambda text, n=name: f"{n}: {text}")
