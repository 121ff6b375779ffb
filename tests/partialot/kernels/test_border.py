"""The vectors of a sweep against the bordered matrix written out in float64, whoever computes them."""

from types import ModuleType, SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from partialot.kernels import border, cpu, native
from partialot.kernels.primitives import Iterate, Marginals, RowSums

inf = torch.inf


class Sweep(NamedTuple):
    """A bordered problem in the middle of a sweep: the logarithms of its kernel are written out, the corner's too."""

    logs: Tensor
    marginals: Marginals
    at: Iterate
    rows: RowSums
    omega: Tensor


def sweep(*, priced: bool = False, omega: float = 1.0, idle: bool = False, spread: float = 1.0, n: int = 5) -> Sweep:
    """Three problems of n + 1 sources and 7 + 1 targets after a pass over their rows."""
    count, m = 3, 7
    weights = [torch.rand(count, size).double() + 0.1 for size in (n + 1, m + 1)]
    if idle:
        weights[0][:, 0], weights[1][:, :2] = 0.0, 0.0
    a, b = (x / x.sum(-1, keepdim=True) for x in weights)
    marginals = Marginals(a, a.log(), b, b.log(), priced)
    f, g = spread * torch.randn(count, n + 1).double(), spread * torch.randn(count, m + 1).double()
    cost = torch.nn.functional.pad(2 * torch.rand(count, n, m).double(), (0, 1, 0, 1))
    cost[:, -1, -1] = 0.0 if priced else inf
    logs = a.log()[..., None] + b.log()[:, None] - cost
    factor = torch.full((count,), omega, dtype=torch.float64)
    terms = (b.log() + g)[:, None] + f[..., None] - cost
    real, total = terms[:, :-1, :-1].logsumexp(-1), terms[:, :-1].logsumexp(-1)
    moved = -border.safe_relaxation(total, factor[:, None]) * total
    columns = (logs[:, :-1, :-1] + (f[:, :-1] + moved)[..., None] + g[:, None, :-1]).exp().sum(-2)
    rows = RowSums(total, (real - total).exp(), moved, columns)
    scalars = [torch.rand(count).double() + 0.1 for _ in range(4)]
    scalars[1] = scalars[1] if priced else torch.zeros(count).double()
    return Sweep(logs, marginals, Iterate(f, g, *scalars), rows, factor)


def plan(of: Sweep, f: Tensor, g: Tensor) -> Tensor:
    return (of.logs + f[..., None] + g[:, None]).exp()


def step(kernels: SimpleNamespace | ModuleType, of: Sweep, running: Tensor | None = None) -> tuple[Iterate, Tensor]:
    measured = kernels.measure(of.marginals, of.at, of.rows)
    running = torch.ones(of.omega.shape, dtype=torch.bool) if running is None else running
    log_columns = of.rows.columns.log()
    return kernels.update(of.marginals, of.at, of.rows, log_columns, measured.edge, of.omega, running, torch.float64)


@pytest.mark.parametrize("priced", [False, True])
def test_the_error_is_what_rows_are_off_by_where_no_row_is_above_its_weight(
    kernels: SimpleNamespace, priced: bool
) -> None:
    of = sweep(priced=priced)
    low = of._replace(at=of.at._replace(f=of.at.f - 9.0))
    total = of.rows.log_total - 9.0
    whole = plan(low, low.at.f, low.at.g)
    real = whole[:, :-1, :-1].sum(-1) / total.exp()
    found = kernels.measure(low.marginals, low.at, of.rows._replace(log_total=total))
    lacking = (real * (1 - total.exp())).sum(-1)
    edge = (whole[:, -1].sum(-1) / low.marginals.a[:, -1]).log()
    of_edge = (low.at.edge_share + low.at.corner) * (1 - edge.exp())
    assert_close(found.edge, edge, rtol=1e-12, atol=1e-12)
    assert_close(found.error, (lacking + of_edge) / low.at.mass + low.at.column_error, rtol=1e-12, atol=0.0)
    assert_close(found.moved, whole[:, :-1, :-1].sum((-2, -1)), rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("idle", [False, True])
@pytest.mark.parametrize("priced", [False, True])
def test_columns_and_dummies_are_right_and_the_mass_is_met_after_an_exact_update(
    kernels: SimpleNamespace, priced: bool, idle: bool
) -> None:
    of = sweep(priced=priced, idle=idle)
    new, wild = step(kernels, of)
    found, taking = plan(of, new.f, new.g), of.marginals.b[:, :-1] > 0
    assert not bool(wild.any())
    assert_close(found[:, :-1, :-1].sum((-2, -1)), new.mass, rtol=1e-12, atol=0.0)
    if priced:
        assert_close(found[:, -1, -1], new.mass, rtol=1e-12, atol=0.0)
    else:
        assert_close(new.mass, of.at.mass, rtol=0.0, atol=0.0)
    # The mass step came last: undone, every column is at its weight, and so is the dummy's.
    rise = new.f[:, :1] - (of.at.f + torch.nn.functional.pad(of.rows.moved, (0, 1)))[:, :1]
    f = torch.cat((new.f[:, :-1] - rise, new.f[:, -1:]), dim=-1)
    g = torch.cat((new.g[:, :-1], new.g[:, -1:] + rise), dim=-1)
    columns = plan(of, f, g).sum(-2)
    assert_close(columns[:, :-1][taking], of.marginals.b[:, :-1][taking], rtol=1e-12, atol=0.0)
    assert_close(columns[:, -1], of.marginals.b[:, -1], rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("omega", [1.0, 1.6])
@pytest.mark.parametrize("priced", [False, True])
def test_the_columns_violation_is_that_of_the_plan(kernels: SimpleNamespace, priced: bool, omega: float) -> None:
    of = sweep(priced=priced, omega=omega)
    new, _ = step(kernels, of)
    found = plan(of, new.f, new.g)
    columns = found.sum(-2)[:, :-1] - of.marginals.b[:, :-1]
    # A column counts by the share of it that comes from real sources; the mass step leaves that of the last update.
    rise = new.f[:, :1] - (of.at.f + torch.nn.functional.pad(of.rows.moved, (0, 1)))[:, :1]
    real, lacking = found[:, :-1, :-1].sum(-2) * (-rise).exp(), found[:, -1, :-1]
    share = real / (real + lacking)
    corner = new.corner * rise.squeeze(-1).expm1().abs()
    assert_close(new.column_error, ((columns.abs() * share).sum(-1) + corner) / new.mass, rtol=1e-10, atol=1e-12)
    assert_close(new.edge_share, (real * (1 - share)).sum(-1), rtol=1e-12, atol=0.0)


def test_problems_that_do_not_run_are_left_as_they_are(kernels: SimpleNamespace) -> None:
    of = sweep(priced=True)
    running = torch.tensor([True, False, True])
    alone, _ = step(kernels, of, running)
    whole, _ = step(kernels, of)
    for name, now in alone._asdict().items():
        assert_close(now[~running], getattr(of.at, name)[~running], rtol=0.0, atol=0.0, msg=name)
        assert_close(now[running], getattr(whole, name)[running], rtol=0.0, atol=0.0, msg=name)


@pytest.mark.parametrize("shift", [-2000.0, 900.0])
def test_sums_beyond_the_range_are_told_of_and_right_when_given_by_their_logarithm(
    kernels: SimpleNamespace, shift: float
) -> None:
    of = sweep()
    far = of._replace(at=of.at._replace(f=of.at.f + shift))
    edge, running = kernels.measure(far.marginals, far.at, far.rows).edge, torch.tensor([True, True, True])
    f = far.at.f[:, :-1] + far.rows.moved
    logs = (far.logs[:, :-1, :-1] + f[..., None] + far.at.g[:, None, :-1]).logsumexp(-2)

    def change(log_columns: Tensor) -> tuple[Iterate, Tensor]:
        return kernels.update(far.marginals, far.at, far.rows, log_columns, edge, far.omega, running, torch.float64)

    assert bool(change(logs.exp().log())[1].all())
    new, _ = change(logs)
    assert_close(plan(far, new.f, new.g)[:, :-1, :-1].sum((-2, -1)), new.mass, rtol=1e-9, atol=0.0)


@pytest.mark.parametrize("n", [0, 1])
def test_problems_without_sources_or_with_one_have_finite_potentials(kernels: SimpleNamespace, n: int) -> None:
    new, _ = step(kernels, sweep(n=n))
    assert all(bool(x.isfinite().all()) for x in (new.f, new.g))


@pytest.mark.skipif(native.library() is None, reason="no C++ compiler with OpenMP was found")
@settings(max_examples=60, deadline=None)
@given(
    priced=st.booleans(),
    idle=st.booleans(),
    omega=st.floats(1.0, 1.95),
    spread=st.floats(0.0, 30.0),
    seed=st.integers(0, 2**31),
)
def test_native_and_plain_agree_to_rounding(priced: bool, idle: bool, omega: float, spread: float, seed: int) -> None:
    torch.manual_seed(seed)
    of = sweep(priced=priced, idle=idle, omega=omega, spread=spread)
    one, other = border.measure(of.marginals, of.at, of.rows), cpu.measure(of.marginals, of.at, of.rows)
    for name, value in one._asdict().items():
        assert_close(getattr(other, name), value, rtol=1e-11, atol=1e-13, msg=name)
    (plain, wild), (fast, also) = step(border, of), step(cpu, of)
    assert_close(wild, also)
    # Where the dual decides between ω and 1 by less than a rounding, the two may decide differently.
    for name, value in plain._asdict().items():
        assert_close(getattr(fast, name), value, rtol=1e-9, atol=1e-9 * (1 + spread), msg=name)
