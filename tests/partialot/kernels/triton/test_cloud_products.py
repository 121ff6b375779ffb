"""Products with kernels between points that are evaluated on the way, against those with the kernels written out."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from partialot.kernels import reference
from partialot.kernels.points import CloudEntries, Points
from partialot.kernels.primitives import Cloud, Entries, Source
from partialot.kernels.triton import launching
from tests.partialot.kernels.on_device import MARKS, triton_kernels
from tests.partialot.kernels.passes import inf, sources
from tests.partialot.kernels.triton.test_cloud import KINDS, cloud, entries

pytestmark = MARKS

ACCURACY = 1e-5
EVERY_WAY = pytest.mark.parametrize(("d", "k"), [(3, 3), (3, 20), (20, 1), (20, 20)], ids=str)
"""Costs by sums or products, times columns one by one or products of matrices."""


def multiplied(given: Entries, values: Tensor) -> Tensor:
    prices = given.prices
    exponents = given.rows.unsqueeze(-1) + given.columns.unsqueeze(-2)
    exponents = exponents - prices.unit[:, None, None] * (prices.cost - prices.shift[:, None, None])
    return exponents.exp() @ values.double()


def assert_multiplied(given: CloudEntries, values: Tensor) -> None:
    expected = reference.cloud_product(given, values)
    sizes = reference.cloud_product(given, values.abs().amax(-1, keepdim=True))
    found = triton_kernels.cloud_product(given, values)
    assert found.shape == expected.shape
    assert found.dtype == torch.float64
    assert ((found - expected).abs() <= ACCURACY * sizes).all()


@pytest.mark.parametrize(("cost", "d"), KINDS, ids=str)
def test_the_definition_is_a_product_with_the_costs_that_points_stand_for(cost: str, d: int) -> None:
    given, written = entries(cloud((2, 33, 20), cost, d))
    values = torch.randn(2, 20, 3)
    sizes = multiplied(written, values.abs())
    assert ((reference.cloud_product(given, values) - multiplied(written, values)).abs() <= ACCURACY * sizes).all()


@pytest.mark.parametrize("k", [1, 3, 20])
@pytest.mark.parametrize(("cost", "d"), KINDS, ids=str)
def test_products_are_those_of_the_definition(cost: str, d: int, k: int) -> None:
    given, _ = entries(cloud((1, 33, 41), cost, d))
    assert_multiplied(given, torch.randn(1, 41, k))


@EVERY_WAY
@pytest.mark.parametrize("size", [(1, 1, 1), (2, 5, 57)], ids=str)
def test_sizes_need_not_fit_tiles(size: tuple[int, int, int], d: int, k: int) -> None:
    given, _ = entries(cloud(size, d=d))
    assert_multiplied(given, torch.randn(size[0], size[2], k))


def test_columns_past_those_that_are_taken_at_a_time_are_taken_after_them() -> None:
    given, _ = entries(cloud((1, 9, 13), d=70))
    assert_multiplied(given, torch.randn(1, 13, 45))


@EVERY_WAY
def test_programs_that_share_rows_are_merged(d: int, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "_FEWEST_OTHERS", 16)
    given, _ = entries(cloud((1, 20, 130), d=d))
    assert launching.Tiles.of(20, 130, narrow=d == k == 3, deep=False).parts > 2
    assert_multiplied(given, torch.randn(1, 130, k))


def test_passes_beside_each_other_share_the_programs() -> None:
    once, often = (launching.Tiles.of(10_000, 10_000, narrow=False, deep=False, times=times) for times in (1, 4))
    assert often.parts * 4 <= once.parts + 4


@EVERY_WAY
def test_the_transposed_kernel_is_that_of_swapped_sides(d: int, k: int) -> None:
    given, written = entries(cloud((2, 21, 34), d=d))
    values = torch.randn(2, 21, k)
    assert_multiplied(given.transposed, values)
    prices = replace(written.prices, cost=written.prices.cost.mT)
    swapped = replace(written, prices=prices, rows=written.columns, columns=written.rows)
    assert_close(reference.cloud_product(given.transposed, values), multiplied(swapped, values), rtol=1e-4, atol=1e-4)


def test_squares_are_those_of_the_entries() -> None:
    given, _ = entries(cloud((2, 8, 9)))
    basis = torch.eye(9).expand(2, -1, -1)
    whole = reference.cloud_product(given, basis)
    assert_close(reference.cloud_product(given.squared, basis), whole.square())


@EVERY_WAY
def test_nodes_without_weight_carry_nothing(d: int, k: int) -> None:
    given, _ = entries(cloud((2, 12, 15), d=d))
    given.rows[:, 4] = -inf
    given.columns[:, 3] = -inf
    given.columns[1] = -inf
    assert_multiplied(given, torch.randn(2, 15, k))
    found = triton_kernels.cloud_product(given, torch.randn(2, 15, k))
    assert (found[:, 4] == 0).all()
    assert (found[1] == 0).all()


@EVERY_WAY
@pytest.mark.parametrize("far", [300.0, -300.0])
def test_entries_beyond_the_range_of_float32_are_harmless_where_they_are_multiplied_with_nothing(
    far: float, d: int, k: int
) -> None:
    given, _ = entries(cloud((1, 12, 15), d=d))
    values = torch.randn(1, 15, k)
    values[:, 3] = 0.0
    given.columns[:, 3] += abs(far)
    given.rows[:, 4] += far / 5
    assert_multiplied(given, values)


@EVERY_WAY
def test_numbers_depend_neither_on_the_batch_nor_on_who_is_left_alone(d: int, k: int) -> None:
    chosen, clouds, values = torch.tensor([False, True, False]), cloud((3, 15, 17), d=d), torch.randn(3, 17, k)
    given, _ = entries(clouds)
    together = triton_kernels.cloud_product(given._replace(source=chosen.to(torch.int8)), values)
    points = Points.of(replace(clouds, x=clouds.x[chosen], y=clouds.y[chosen]))
    alone = CloudEntries(points, *(part[chosen] for part in given[1:]))
    assert torch.equal(together[chosen], triton_kernels.cloud_product(alone, values[chosen]))


@EVERY_WAY
def test_clouds_and_vectors_may_be_shared_by_the_batch(d: int, k: int) -> None:
    clouds, values = cloud((1, 12, 15), d=d), torch.randn(1, 15, k)
    given, _ = entries(replace(clouds, x=clouds.x.expand(3, -1, -1), y=clouds.y.expand(3, -1, -1)))
    assert given.points.x.stride(0) == 0
    assert_multiplied(given, values)
    strided = torch.stack((values, values), -1).expand(3, -1, -1, -1)[..., 0]
    assert torch.equal(triton_kernels.cloud_product(given, strided), triton_kernels.cloud_product(given, values))


@pytest.mark.parametrize("size", [(0, 3, 4, 2), (2, 0, 5, 1), (2, 3, 0, 20), (2, 3, 4, 0)], ids=str)
def test_nothing_is_summed_where_there_is_nothing(size: tuple[int, int, int, int]) -> None:
    batch, n, m, k = size
    clouds = Cloud(torch.randn(batch, n, 20), torch.randn(batch, m, 20), squared=True, constant=0.0)
    vectors = torch.ones(batch).double(), torch.zeros(batch).double(), sources(batch, Source.COST)
    given = CloudEntries(Points.of(clouds), *vectors, torch.zeros(batch, n).double(), torch.zeros(batch, m).double())
    found = triton_kernels.cloud_product(given, torch.randn(batch, m, k))
    assert found.shape == (batch, n, k)
    assert (found == 0).all()
