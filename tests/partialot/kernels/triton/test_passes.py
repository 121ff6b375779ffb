"""Kernels in Triton where plain PyTorch has nothing of its own to show: types, strides, tiles, and sizes."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from partialot.kernels import reference
from partialot.kernels.primitives import Entries, Prices, RowUpdate, Source
from tests.partialot.kernels.on_device import MARKS, there_and_back, triton_kernels
from tests.partialot.kernels.passes import (
    ACCURACY,
    DTYPES,
    assert_sums,
    entries,
    expected_sums,
    inf,
    only,
    sources,
    update,
    written_out,
)

pytestmark = MARKS


def strided(x: Tensor) -> Tensor:
    """The same numbers with others between them."""
    return torch.stack((x, torch.full_like(x, torch.nan)), dim=-1)[..., 0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_costs_of_half_precision_are_computed_with_in_float32(dtype: torch.dtype) -> None:
    size = (2, 37, 50)
    given, change = entries(size, dtype), update(size, omega=1.3)
    assert_sums(triton_kernels.row_pass(given, change), expected_sums(given, change, 1.3), ACCURACY[torch.float32])
    stored = torch.empty_like(given.prices.cost)
    triton_kernels.write_out(replace(given, stored=stored))
    digits = torch.finfo(dtype).eps
    assert_close(stored.double(), written_out(given).exp(), rtol=digits, atol=digits)


def test_neither_strides_nor_a_cost_shared_by_the_batch_matter() -> None:
    size = (3, 20, 33)
    given, change = entries((1, 20, 33), torch.float32), update(size)
    rows, columns = torch.rand(3, 20).double(), torch.randn(3, 33).double()
    shared = given.prices.cost.expand(3, -1, -1)
    prices = Prices(shared.contiguous(), torch.full((3,), 3.0).double(), torch.full((3,), -0.5).double())
    plain = Entries(prices, None, sources(3, Source.COST), rows, columns)
    expected = triton_kernels.row_pass(plain, change)
    spread = RowUpdate(strided(change.edge), strided(change.log_weight), change.relaxation, change.ceiling)
    wide = torch.nn.functional.pad(columns, (0, 1))[:, :-1]
    for cost in (shared, strided(shared), shared.mT.contiguous().mT):
        others = Entries(replace(prices, cost=cost), None, plain.source, strided(rows), wide)
        found = triton_kernels.row_pass(others, spread)
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_numbers_do_not_depend_on_the_batch(dtype: torch.dtype) -> None:
    size = (3, 75, 90)
    given, change = entries(size, dtype), update(size, omega=1.3)
    together, chosen = triton_kernels.row_pass(given, change), torch.tensor([False, True, False])
    part = given.source[chosen], given.rows[chosen], given.columns[chosen]
    alone = triton_kernels.row_pass(Entries(given.prices.select(chosen), None, *part), only(change, chosen))
    assert all(torch.equal(one[chosen], other) for one, other in zip(together, alone, strict=True))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rows_out_of_range_spoil_none_beside_them(dtype: torch.dtype) -> None:
    size = (2, 70, 33)
    given = entries(size, dtype, forbid=True)
    away = 2e3 * torch.randn(2, 70).double().sign() * (torch.rand(2, 70) < 0.1)
    given, change = replace(given, rows=given.rows + away), update(size, omega=1.3)
    found, change = triton_kernels.row_pass(given, change), change._replace(ceiling=None)
    usual, expected = away == 0, expected_sums(given, change, 1.3)
    for one, other in zip(found[:3], expected[:3], strict=True):
        assert_close(one[usual], other[usual], rtol=ACCURACY[dtype], atol=ACCURACY[dtype])
    # Rows that were lowered have their border left.
    moved = torch.where(away > 0, -expected.log_total, expected.moved)
    columns = (written_out(given) + (change.log_weight + moved)[..., None]).logsumexp(-2).exp()
    far = 1e-3 if dtype == torch.float32 else 1e-11
    assert_close(found.moved[~usual], moved[~usual], rtol=far, atol=far)
    assert_close(found.columns, columns, rtol=far, atol=far)


_evaluated = triton_kernels.evaluated_sandwich


@pytest.mark.parametrize("size", [(0, 3, 4), (2, 0, 5), (2, 3, 0)], ids=str)
def test_nothing_is_summed_where_there_is_nothing(size: tuple[int, int, int]) -> None:
    batch, n, m = size
    given, change = entries(size, torch.float32), update(size)
    found = triton_kernels.row_pass(given, change)
    assert [part.shape for part in found] == [(batch, n), (batch, n), (batch, n), (batch, m)]
    assert_close(found.log_total, change.edge)
    assert (found.columns == 0).all()
    vectors = given.columns, given.rows, given.rows
    for products in (triton_kernels.sandwich(given.prices.cost, *vectors), _evaluated(given, *vectors)):
        assert all(bool((part == 0).all()) for part in products)
    assert (triton_kernels.column_log_sums(given.prices, given.rows) == -inf).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", [(2, 5, 33), (1, 131, 1030)], ids=str)
def test_rows_too_long_for_registers_are_summed_right(size: tuple[int, int, int], dtype: torch.dtype) -> None:
    from partialot.kernels.triton import wide

    given, change = entries(size, dtype, forbid=True), update(size, omega=1.7, ceiling=0.5)
    given = replace(given, source=given.source.clone())
    given.rows[:, 2] += 5e3
    found = there_and_back(wide.row_pass)(given, change)
    expected, near = expected_sums(given, change, 1.7), torch.arange(size[1]) != 2
    for name in ("log_total", "fraction", "moved"):
        one, other = getattr(found, name)[:, near], getattr(expected, name)[:, near]
        assert_close(one, other, rtol=ACCURACY[dtype], atol=ACCURACY[dtype])
    far = 1e-3 if dtype == torch.float32 else 1e-11
    assert_close(found.log_total[:, 2], expected.log_total[:, 2], rtol=far, atol=far)


def test_the_pass_is_chosen_by_how_long_rows_are(monkeypatch: pytest.MonkeyPatch) -> None:
    from partialot.kernels.triton import rows, wide

    for dtype, longest in ((torch.float32, 16384), (torch.float64, 8192)):
        assert rows.fits(torch.empty(1, 1, longest, dtype=dtype))
        assert not rows.fits(torch.empty(1, 1, longest + 1, dtype=dtype))
    given, change = entries((1, 5, 6), torch.float32), update((1, 5, 6))
    monkeypatch.setattr(rows, "fits", lambda _: False)
    found, expected = triton_kernels.row_pass(given, change), there_and_back(wide.row_pass)(given, change)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_costs_of_any_type_and_strides_are_multiplied_with_and_rows_too_long_by_plain_pytorch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from partialot.kernels.triton import products

    size = (2, 37, 50)
    for dtype in (torch.float16, torch.float32):
        given = entries(size, dtype)
        x, scale, offset = torch.randn(2, 50).double(), torch.randn(2, 37).double(), torch.randn(2, 37).double()
        single = replace(given, prices=replace(given.prices, cost=given.prices.cost.float()))
        expected = reference.evaluated_sandwich(single, x, scale, offset)
        spread = replace(given, prices=replace(given.prices, cost=strided(given.prices.cost)), rows=strided(given.rows))
        assert_close(_evaluated(spread, x, strided(scale), strided(offset)), expected, rtol=1e-5, atol=1e-5)
        turned = tuple(side.mT.contiguous().mT for side in (x, scale, offset))
        assert_close(_evaluated(given, *turned), expected, rtol=1e-5, atol=1e-5)
    short = replace(products.Work.of(given.prices.cost), widest=49)
    monkeypatch.setattr(products, "Work", SimpleNamespace(of=lambda _: short))
    assert all(map(torch.equal, _evaluated(given, x, scale, offset), expected))


def test_columns_are_summed_in_the_log_domain_at_any_potentials() -> None:
    given = entries((2, 300, 70), torch.float32, forbid=True)
    given.prices.cost[1, :, 3] = inf
    rows = 1e4 * torch.randn(2, 300).double()
    rows[:, 3] = -inf
    expected = reference.column_log_sums(given.prices, rows)
    assert_close(triton_kernels.column_log_sums(given.prices, rows), expected, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_stored_kernels_are_scaled_and_others_left_alone(dtype: torch.dtype) -> None:
    given = entries((3, 20, 300), dtype)
    stored = torch.rand(3, 20, 300).to(dtype)
    before, order = stored.clone(), [Source.STORED, Source.NOTHING, Source.COST]
    triton_kernels.write_out(replace(given, stored=stored, source=torch.tensor(order, dtype=torch.int8)))
    factor = (given.rows[0, :, None] + given.columns[0]).exp()
    assert_close(stored[0].double(), before[0] * factor, rtol=4 * ACCURACY[dtype], atol=0.0)
    assert torch.equal(stored[1], before[1])
    assert_close(stored[2].double(), written_out(given)[2].exp(), rtol=4 * ACCURACY[dtype], atol=1e-30)


def test_entries_too_small_to_be_normal_numbers_are_written_as_nothing() -> None:
    given = entries((1, 2, 3), torch.float32)
    stored = torch.full((1, 2, 3), torch.nan)
    triton_kernels.write_out(replace(given, stored=stored, rows=given.rows - 90.0))
    assert (stored == 0).all()
