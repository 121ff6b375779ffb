"""Passes over Gibbs kernels against sums in float64, whoever computes them."""

from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from partialot.kernels import blocks, cpu, native, reference
from partialot.kernels.primitives import Entries, Prices, RowSums, Source
from tests.partialot.kernels.passes import (
    ACCURACY,
    DTYPES,
    SIZES,
    assert_sums,
    ceiling_of,
    entries,
    expected_sums,
    inf,
    only,
    sources,
    update,
    written_out,
)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("omega", [1.0, 1.7])
def test_rows_and_columns_are_summed_right(
    kernels: SimpleNamespace, size: tuple[int, int, int], dtype: torch.dtype, omega: float
) -> None:
    given, change = entries(size, dtype, forbid=size[1] > 1), update(size, omega=omega)
    assert_sums(kernels.row_pass(given, change), expected_sums(given, change, omega), ACCURACY[dtype])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rows_rise_no_higher_than_theirceiling_of(kernels: SimpleNamespace, dtype: torch.dtype) -> None:
    size = (2, 9, 12)
    given, change = entries(size, dtype), update(size, edge=1.0, ceiling=0.5)
    found = kernels.row_pass(given, change)
    assert_sums(found, expected_sums(given, change, 1.0), ACCURACY[dtype])
    assert bool((given.rows + found.moved <= ceiling_of(change) + 1e-9).all())
    assert bool((given.rows + found.moved < 0.4).any())


@pytest.mark.parametrize("shift", [0.0, 300.0, -300.0])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_pass_that_stores_finds_what_others_find_and_keeps_the_kernel(
    storing_kernels: SimpleNamespace, dtype: torch.dtype, shift: float
) -> None:
    """Also where rows are far out of the range of the type, and are summed with the largest term divided out."""
    size = (2, 70, 33)
    given, change = entries(size, dtype, forbid=True), update(size)
    given = Entries(given.prices, None, given.source, given.rows + shift * (torch.rand(2, 70) < 0.3), given.columns)
    kept, written = (torch.full(size, torch.nan, dtype=dtype) for _ in range(2))
    storing_kernels.write_out(Entries(given.prices, written, given.source, given.rows, given.columns))
    storing = Entries(given.prices, kept, sources(2, Source.STORING), given.rows, given.columns)
    found, expected = storing_kernels.row_pass(storing, change), storing_kernels.row_pass(given, change)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert torch.equal(kept, written)


def test_no_ceiling_is_one_that_is_never_reached(kernels: SimpleNamespace) -> None:
    size = (2, 9, 12)
    given, change = entries(size, torch.float32), update(size)
    found, free = (kernels.row_pass(given, one) for one in (change, change._replace(ceiling=None)))
    assert all(torch.equal(one, other) for one, other in zip(found, free, strict=True))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_exponents_are_formed_without_rounding_where_costs_span_thousands_of_reg(
    kernels: SimpleNamespace, dtype: torch.dtype
) -> None:
    """Plain float32 is off by 5e-4 here; the sums must be as right as where the costs are small."""
    size = (2, 40, 50)
    given, change = entries(size, dtype, spread=4096.0), update(size, edge=-inf)
    total = written_out(given).logsumexp(-1)
    near = Entries(given.prices, None, given.source, given.rows - total, given.columns)
    found = kernels.row_pass(near, change)
    assert_close(found.log_total, torch.zeros_like(total), rtol=0.0, atol=1e-3 if dtype == torch.float32 else 1e-12)
    # The unit is rounded to the working type once, which is another `reg` by an ulp; sums must agree with the entries.
    stored = torch.empty_like(given.prices.cost)
    kernels.write_out(Entries(near.prices, stored, near.source, near.rows, near.columns))
    assert_close(stored.double().sum(-1).log(), found.log_total, rtol=0.0, atol=ACCURACY[dtype])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rows_out_of_range_are_summed_in_the_log_domain_and_updated_exactly(
    kernels: SimpleNamespace, dtype: torch.dtype
) -> None:
    size = (2, 7, 9)
    given = entries(size, dtype)
    rows = given.rows + 5e3 * torch.randn(2, 7).double()
    wild, change = Entries(given.prices, None, given.source, rows, given.columns), update(size, omega=1.5, edge=-inf)
    found = kernels.row_pass(wild, change)
    assert_sums(found, expected_sums(wild, change, 1.0), 1e-3 if dtype == torch.float32 else 1e-11)


def test_a_row_that_sees_nothing_stays_where_it_is(kernels: SimpleNamespace) -> None:
    given = entries((1, 3, 4), torch.float32)
    given.prices.cost[0, 1] = inf
    found = kernels.row_pass(given, update((1, 3, 4), edge=-inf))
    assert found.log_total[0, 1] == -inf
    assert found.moved[0, 1] == 0
    assert found.fraction[0, 1] == 0
    assert found.columns.isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_stored_kernel_serves_nearby_potentials(
    storing_kernels: SimpleNamespace, size: tuple[int, int, int], dtype: torch.dtype
) -> None:
    given, change = entries(size, dtype, forbid=size[1] > 1), update(size, omega=1.3)
    stored = torch.empty_like(given.prices.cost)
    storing_kernels.write_out(Entries(given.prices, stored, given.source, given.rows, given.columns))
    # Entries at the limit of the type are flushed to 0.
    assert_close(stored.double(), written_out(given).exp(), rtol=4 * ACCURACY[dtype], atol=1e-30)
    batch, n, m = size
    moved = torch.randn(batch, n).double(), torch.randn(batch, m).double()
    near = Entries(given.prices, stored, sources(batch, Source.STORED), *moved)
    assert_sums(storing_kernels.row_pass(near, change), expected_sums(near, change, 1.3), ACCURACY[dtype])
    logs = written_out(near)
    storing_kernels.write_out(near)
    assert_close(stored.double(), logs.exp(), rtol=4 * ACCURACY[dtype], atol=1e-30)


def test_problems_without_a_source_are_left_alone(kernels: SimpleNamespace) -> None:
    given = entries((3, 5, 6), torch.float32)
    stored = torch.full((3, 5, 6), 7.0)
    source = torch.tensor([Source.NOTHING, Source.COST, Source.NOTHING], dtype=torch.int8)
    kernels.write_out(Entries(given.prices, stored, source, given.rows, given.columns))
    assert (stored[[0, 2]] == 7).all()
    assert_close(stored[1].double(), written_out(given)[1].exp(), rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("most", [1, 40, 10**6])
def test_problems_of_one_batch_may_have_different_sources(
    storing_kernels: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    for name in ("EVALUATED", "STORED"):
        monkeypatch.setattr(reference, name, most)
        monkeypatch.setattr(blocks, name, most)
    size = (6, 5, 8)
    given, change = entries(size, torch.float64, forbid=True), update(size, omega=1.3)
    stored = torch.full_like(given.prices.cost, torch.nan)
    order = [Source.STORED, Source.COST, Source.NOTHING, Source.STORED, Source.STORED, Source.COST]
    source = torch.tensor(order, dtype=torch.int8)
    fresh = torch.where(source == Source.STORED, int(Source.COST), int(Source.NOTHING)).to(torch.int8)
    storing_kernels.write_out(Entries(given.prices, stored, fresh, given.rows, given.columns))
    moved = (source == Source.STORED).double().unsqueeze(-1)
    near = Entries(given.prices, stored, source, given.rows * (1 - moved) + 0.1 * moved, given.columns * (1 - moved))
    found = storing_kernels.row_pass(near, change)
    for kind in (Source.STORED, Source.COST):
        chosen = source == kind
        part = Entries(
            given.prices.select(chosen), stored[chosen], source[chosen], near.rows[chosen], near.columns[chosen]
        )
        own = only(change, chosen)
        assert_sums(RowSums(*(x[chosen] for x in found)), expected_sums(part, own, 1.3), 1e-12)
    before = stored.clone()
    storing_kernels.write_out(near)
    assert stored[2].isnan().all()
    for index in (0, 3):
        assert_close(stored[index], before[index] * torch.tensor(0.1).double().exp())
    assert_close(stored[1], written_out(Entries(given.prices, None, source, near.rows, near.columns))[1].exp())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_sandwich_is_two_products(kernels: SimpleNamespace, size: tuple[int, int, int], dtype: torch.dtype) -> None:
    batch, n, m = size
    matrix, x = torch.rand(size).to(dtype), torch.randn(batch, m).double()
    scale, offset = torch.randn(batch, n).double(), torch.randn(batch, n).double()
    y, z = kernels.sandwich(matrix, x, scale, offset)
    expected = (matrix.double() @ x[..., None]).squeeze(-1)
    accuracy = ACCURACY[dtype] * (n + m)
    assert_close(y, expected, rtol=0.0, atol=accuracy)
    assert_close(z, ((scale * expected + offset)[:, None] @ matrix.double()).squeeze(1), rtol=0.0, atol=accuracy * n)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_sandwich_of_an_evaluated_kernel_is_that_of_the_kernel_written_out(
    evaluating_kernels: SimpleNamespace, size: tuple[int, int, int], dtype: torch.dtype
) -> None:
    batch, n, m = size
    given = entries(size, dtype, forbid=n > 1)
    x, scale, offset = (torch.randn(batch, k).double() for k in (m, n, n))
    if n > 1:
        given.rows[:, 1] = -inf
    matrix = written_out(given).exp()
    expected = (matrix @ x[..., None]).squeeze(-1)
    y, z = evaluating_kernels.evaluated_sandwich(given, x, scale, offset)
    sizes = (matrix @ x.abs()[..., None]).squeeze(-1)
    assert bool(((y - expected).abs() <= ACCURACY[dtype] * sizes).all())
    left = scale * expected + offset
    sizes = ((scale.abs() * sizes + offset.abs())[:, None] @ matrix).squeeze(1)
    assert bool(((z - (left[:, None] @ matrix).squeeze(1)).abs() <= 2 * ACCURACY[dtype] * sizes).all())


def test_problems_without_a_source_are_multiplied_by_nobody(evaluating_kernels: SimpleNamespace) -> None:
    given = entries((2, 9, 12), torch.float32)
    given.source[0] = int(Source.NOTHING)
    given.prices.cost[0] = torch.nan
    x, scale = torch.randn(2, 12).double(), torch.randn(2, 9).double()
    y, z = evaluating_kernels.evaluated_sandwich(given, x, scale, scale)
    assert bool(y[1].isfinite().all() & z[1].isfinite().all())
    alone = evaluating_kernels.evaluated_sandwich(only_entries(given, 1), x[1:], scale[1:], scale[1:])
    assert_close((y[1:], z[1:]), alone)


@pytest.mark.parametrize("dtype", [torch.float16, *DTYPES], ids=str)
@pytest.mark.parametrize("size", [(2, 20, 300), (1, 300, 20), (2, 1, 1), (2, 0, 3), (0, 2, 3)], ids=str)
def test_minima_are_those_of_costs_less_potentials_in_float64(
    evaluating_kernels: SimpleNamespace, size: tuple[int, int, int], dtype: torch.dtype
) -> None:
    batch, n, m = size
    # As a batch shares it, columns together in memory.
    cost = torch.rand(min(batch, 1), m, n).to(dtype).mT.expand(size).clone(memory_format=torch.preserve_format)
    cost[torch.rand(size) < 0.3] = inf
    rows, columns = torch.randn(batch, n).double(), torch.randn(batch, m).double()
    rows[:, n // 2 :: 3] = -inf
    nothing = torch.full((batch, 1, m), inf), torch.full((batch, n, 1), inf)
    expected = torch.cat((cost - rows.unsqueeze(-1), nothing[0]), 1).amin(1)
    assert_close(evaluating_kernels.column_minima(cost, rows), expected, rtol=0.0, atol=0.0)
    expected = torch.cat((cost - columns.unsqueeze(-2), nothing[1]), 2).amin(2)
    assert_close(evaluating_kernels.row_minima(cost, columns), expected, rtol=0.0, atol=0.0)


def only_entries(given: Entries, p: int) -> Entries:
    chosen = torch.arange(len(given.rows)) == p
    part = given.source[chosen], given.rows[chosen], given.columns[chosen]
    return Entries(given.prices.select(chosen), None, *part)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_potentials_too_large_for_a_fine_grid_are_summed_right(dtype: torch.dtype) -> None:
    """Beside an offset of 1e8 `reg` the rest of a potential is no longer small; costs are whole numbers, so exact."""
    size = (1, 6, 7)
    cost = torch.randint(8, size).to(dtype) + 2.0**23
    prices = Prices(cost, torch.full((1,), 16.0, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    rows = 16.0 * (2.0**23 + 4) + torch.rand(1, 6).double()
    given = Entries(prices, None, sources(1, Source.COST), rows, torch.rand(1, 7).double())
    change = update(size, edge=-inf)
    total = written_out(given).logsumexp(-1)
    given = Entries(prices, None, given.source, rows - total, given.columns)
    assert_sums(reference.row_pass(given, change), expected_sums(given, change, 1.0), 2e-5)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("n", "m"), [(2, 4), (3, 5), (7, 9), (20, 31)])
def test_plain_entries_do_not_depend_on_the_batch(dtype: torch.dtype, n: int, m: int) -> None:
    given = entries((5, n, m), dtype)
    together = torch.empty_like(given.prices.cost)
    reference.write_out(Entries(given.prices, together, given.source, given.rows, given.columns))
    for index in range(5):
        chosen, stored = torch.arange(5) == index, torch.empty(1, n, m, dtype=dtype)
        place = given.rows[chosen], given.columns[chosen]
        reference.write_out(Entries(given.prices.select(chosen), stored, given.source[chosen], *place))
        assert torch.equal(stored[0], together[index])


def test_columns_are_summed_in_the_log_domain_at_any_potentials() -> None:
    given = entries((2, 30, 20), torch.float32, forbid=True)
    rows = 1e4 * torch.randn(2, 30).double()
    rows[:, 3] = -inf
    expected = written_out(Entries(given.prices, None, given.source, rows, torch.zeros(2, 20).double())).logsumexp(-2)
    assert_close(reference.column_log_sums(given.prices, rows), expected)


@pytest.mark.skipif(native.library() is None, reason="no C++ compiler with OpenMP was found")
@pytest.mark.parametrize("stored", [False, True])
def test_native_sums_depend_neither_on_the_threads_nor_on_the_batch(stored: bool) -> None:
    size = (3, 310, 90)
    given, change = entries(size, torch.float32), update(size)
    if stored:
        matrix = torch.rand(size)
        given = Entries(given.prices, matrix, sources(3, Source.STORED), 0.1 * given.rows, given.columns)
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(cpu.row_pass(given, change))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(one, two) for one, two in zip(results[0], other, strict=True))
    last = slice(2, 3)
    alone = Entries(
        given.prices.select(torch.tensor([False, False, True])),
        None if given.stored is None else given.stored[last],
        given.source[last],
        given.rows[last],
        given.columns[last],
    )
    single = cpu.row_pass(alone, only(change, last))
    assert all(torch.equal(one[last], two) for one, two in zip(results[0], single, strict=True))
