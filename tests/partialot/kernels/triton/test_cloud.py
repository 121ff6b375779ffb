"""Passes over costs between points that are evaluated on the way, against passes over those costs written out."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from partialot.geometry import PointCloud
from partialot.kernels import dispatch, reference, triton
from partialot.kernels.points import CloudEntries, Points
from partialot.kernels.primitives import Cloud, Entries, Prices, RowUpdate, Source
from partialot.kernels.triton import launching
from tests.partialot.kernels.on_device import MARKS, triton_kernels
from tests.partialot.kernels.passes import assert_sums, expected_sums, inf, only, sources, update

pytestmark = MARKS

KINDS = [
    ("sqeuclidean", 1),
    ("sqeuclidean", 3),
    ("dot", 5),
    ("cosine", 8),
    ("sqeuclidean", 9),
    ("cosine", 64),
    ("sqeuclidean", 100),
    ("sqeuclidean", 150),
]
"""Costs and numbers of coordinates: sums over these, products taken at once, and products in several pieces."""
ACCURACY = 1e-5


def cloud(size: tuple[int, int, int], cost: str = "sqeuclidean", d: int = 3) -> Cloud:
    batch, n, m = size
    geometry = PointCloud(torch.randn(batch, n, d), torch.randn(batch, m, d) + 1, cost, storage="blocks")
    found = geometry.prepare().cloud()
    assert found is not None
    return found


def entries(clouds: Cloud, *, spread: float = 15.0) -> tuple[CloudEntries, Entries]:
    """Kernels whose exponents differ by so much at most, on the way and from costs in float64."""
    cost = reference.costs(clouds)
    (batch, n, m), shift = cost.shape, cost.amin((-2, -1))
    unit = spread / (cost.amax((-2, -1)) - shift).clamp(min=1.0)
    rows, columns = spread / 2 * torch.rand(batch, n).double(), torch.randn(batch, m).double() - 3
    source = sources(batch, Source.COST)
    on_the_way = CloudEntries(Points.of(clouds), unit, shift, source, rows, columns)
    return on_the_way, Entries(Prices(cost, unit, shift), None, source, rows, columns)


def moved_to(given: tuple[CloudEntries, Entries], **potentials: Tensor) -> tuple[CloudEntries, Entries]:
    return given[0]._replace(**potentials), replace(given[1], **potentials)


@pytest.mark.parametrize(("cost", "d"), KINDS, ids=str)
def test_sums_are_those_of_the_costs_that_points_stand_for(cost: str, d: int) -> None:
    size = (2, 133, 70)
    given, change = entries(cloud(size, cost, d)), update(size, omega=1.3, ceiling=6.0)
    change.log_weight[:, 4] = -inf
    given[0].columns[:, 3] = -inf
    assert_sums(triton_kernels.cloud_pass(given[0], change), expected_sums(given[1], change, 1.3), ACCURACY)


@pytest.mark.parametrize("d", [3, 20])
@pytest.mark.parametrize("size", [(1, 1, 1), (2, 5, 260), (1, 200, 17)], ids=str)
def test_sizes_need_not_fit_tiles(size: tuple[int, int, int], d: int) -> None:
    given, change = entries(cloud(size, d=d)), update(size)._replace(ceiling=None)
    assert_sums(triton_kernels.cloud_pass(given[0], change), expected_sums(given[1], change, 1.0), ACCURACY)


@pytest.mark.parametrize("d", [3, 20])
def test_programs_that_share_rows_are_merged(d: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "_FEWEST_OTHERS", 32)
    size = (1, 200, 230)
    given, change = entries(cloud(size, d=d)), update(size, omega=1.3)
    assert launching.Tiles.of(200, 230, narrow=d == 3, deep=False).parts > 2
    assert_sums(triton_kernels.cloud_pass(given[0], change), expected_sums(given[1], change, 1.3), ACCURACY)


@pytest.mark.parametrize("narrow", [True, False])
@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("n", [1, 130, 5000, 10000, 100_000])
def test_every_pair_is_taken_once_and_every_multiprocessor_has_work(n: int, narrow: bool, deep: bool) -> None:
    tiles = launching.Tiles.of(n, n, narrow=narrow, deep=deep)
    assert (tiles.parts - 1) * tiles.part < n <= tiles.parts * tiles.part
    assert tiles.part % tiles.width == 0
    assert n < 5000 or -(-n // tiles.height) * tiles.parts >= 2 * 132


@pytest.mark.parametrize("d", [3, 20])
def test_the_log_domain_bears_any_potentials(d: int) -> None:
    size = (1, 70, 33)
    away = 2e3 * torch.randn(1, 70).double().sign() * (torch.rand(1, 70) < 0.3)
    given = entries(cloud(size, d=d))
    given = moved_to(given, rows=given[0].rows + away)
    change = update(size, omega=1.3)._replace(ceiling=None)
    found, expected = triton_kernels.cloud_pass(given[0], change), expected_sums(given[1], change, 1.3)
    for name in ("log_total", "fraction"):
        assert_close(getattr(found, name), getattr(expected, name), rtol=1e-5, atol=1e-3)
    # Sums far above 1 are updated exactly; of those far below, the border is left.
    exact = torch.where(away > 0, -expected.log_total, expected.moved)
    assert_close(found.moved, exact, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("d", [3, 20])
def test_tiles_with_the_same_largest_term_lose_nothing_of_the_sums_before(d: int) -> None:
    """Compilers may contract a product and a difference: of equal numbers a rounding is left then, tile after tile."""
    n, m = 20, 1500
    points = Points.of(Cloud(torch.zeros(1, n, d), torch.zeros(1, m, d), squared=True, constant=0.0))
    one, rows = torch.ones(1).double(), 1e3 + torch.rand(1, n).double()
    given = CloudEntries(points, 0.7 * one, 0 * one, sources(1, Source.COST), rows, torch.zeros(1, m).double())
    found = triton_kernels.cloud_pass(given, update((1, n, m), edge=-inf))
    assert_close(found.log_total, rows + math.log(m), rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("d", [3, 20])
def test_rows_that_see_nothing_stay_where_they_are(d: int) -> None:
    size = (2, 5, 6)
    given, change = entries(cloud(size, d=d)), update(size, edge=-inf)
    given = moved_to(given, columns=torch.full((2, 6), -inf).double())
    found = triton_kernels.cloud_pass(given[0], change)
    assert (found.log_total == -inf).all()
    assert (found.moved == 0).all()
    assert (found.fraction == 0).all()
    assert (found.columns == 0).all()


@pytest.mark.parametrize("d", [3, 20])
def test_numbers_depend_neither_on_the_batch_nor_on_who_is_left_alone(d: int) -> None:
    size, chosen = (3, 75, 90), torch.tensor([False, True, False])
    clouds, change = cloud(size, d=d), update(size, omega=1.3)
    given, _ = entries(clouds)
    together = triton_kernels.cloud_pass(given._replace(source=chosen.to(torch.int8)), change)
    points = Points.of(replace(clouds, x=clouds.x[chosen], y=clouds.y[chosen]))
    alone = triton_kernels.cloud_pass(CloudEntries(points, *(part[chosen] for part in given[1:])), only(change, chosen))
    assert all(torch.equal(one[chosen], other) for one, other in zip(together, alone, strict=True))


@pytest.mark.parametrize("d", [3, 20])
def test_neither_strides_nor_a_cloud_shared_by_the_batch_matter(d: int) -> None:
    size = (3, 20, 33)
    clouds, change = cloud((1, 20, 33), d=d), update(size)
    shared = replace(clouds, x=clouds.x.expand(3, -1, -1), y=clouds.y.expand(3, -1, -1))
    given, _ = entries(shared)
    copied = replace(clouds, x=shared.x.contiguous().mT.contiguous().mT, y=shared.y.contiguous())
    assert given.points.x.stride(0) == 0
    wide = torch.nn.functional.pad(given.columns, (0, 1))[:, :-1]
    spread = RowUpdate(torch.stack((change.edge,) * 2, -1)[..., 0], *change[1:])
    found = triton_kernels.cloud_pass(given, change)
    other = triton_kernels.cloud_pass(given._replace(points=Points.of(copied), columns=wide), spread)
    assert all(torch.equal(one, two) for one, two in zip(found, other, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("d", [3, 20])
def test_points_of_half_precision_are_computed_with_in_float32(d: int, dtype: torch.dtype) -> None:
    size = (1, 20, 33)
    rounded = cloud(size, "dot", d)
    rounded = replace(rounded, x=rounded.x.to(dtype), y=rounded.y.to(dtype))
    given, change = entries(rounded), update(size)
    assert_sums(triton_kernels.cloud_pass(given[0], change), expected_sums(given[1], change, 1.0), ACCURACY)


@pytest.mark.parametrize("size", [1e-18, 1.0, 1e15])
def test_two_halves_of_a_coordinate_have_22_bits_whatever_its_size(size: float) -> None:
    x = size * torch.randn(1, 50, 20) * 10.0 ** torch.randint(-3, 1, (1, 50, 20))
    points = Points.of(Cloud(x, x, squared=False, constant=0.0))
    near, rest = points.x.double().unflatten(-1, (2, -1)).unbind(-2)
    found = (near + rest)[..., :20] * points.factor.sqrt()
    assert_close(found, x.double(), rtol=2.0**-22, atol=2.0**-38 * float(x.abs().max()))
    assert (near[..., 20:] == 0).all()


@pytest.mark.parametrize("d", [3, 20])
def test_columns_are_summed_in_the_log_domain_at_any_potentials(d: int) -> None:
    given, written = entries(cloud((2, 200, 70), d=d))
    rows = 1e3 * torch.randn(2, 200).double()
    rows[:, 3] = -inf
    expected = reference.column_log_sums(written.prices, rows)
    found = triton_kernels.cloud_column_log_sums(given._replace(rows=rows))
    assert_close(found, expected, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("size", [(0, 3, 4), (2, 0, 5), (2, 3, 0)], ids=str)
def test_nothing_is_summed_where_there_is_nothing(size: tuple[int, int, int]) -> None:
    batch, n, m = size
    clouds = Cloud(torch.randn(batch, n, 20), torch.randn(batch, m, 20), squared=True, constant=0.0)
    vectors = torch.ones(batch).double(), torch.zeros(batch).double(), sources(batch, Source.COST)
    given = CloudEntries(Points.of(clouds), *vectors, torch.zeros(batch, n).double(), torch.zeros(batch, m).double())
    change = update(size)
    found = triton_kernels.cloud_pass(given, change)
    assert [part.shape for part in found] == [(batch, n), (batch, n), (batch, n), (batch, m)]
    assert_close(found.log_total, change.edge)
    assert (found.columns == 0).all()
    assert (triton_kernels.cloud_column_log_sums(given) == -inf).all()


def test_points_of_float64_go_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not dispatch.evaluates_on_the_way(torch.zeros(1, 2, 3))
    monkeypatch.setattr(triton, "available", lambda _: True)
    assert dispatch.evaluates_on_the_way(torch.zeros(1, 2, 3))
    assert not dispatch.evaluates_on_the_way(torch.zeros(1, 2, 3).double())
