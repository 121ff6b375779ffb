"""Point clouds at the door: what they refuse, when they store a matrix, and that a block is a part of it."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import partialot
from partialot.geometry import storage as planner
from partialot.geometry.costs import COSTS


def manhattan(x: Tensor, y: Tensor) -> Tensor:
    """A cost of the user's own."""
    return (x.unsqueeze(-2) - y.unsqueeze(-3)).abs().sum(-1)


ALL_COSTS = {**{name: name for name in COSTS}, "own": manhattan}


def clouds(*batch: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Random features (*batch, 7, 3) and (*batch, 5, 3)."""
    return torch.randn(*batch, 7, 3, dtype=dtype), torch.randn(*batch, 5, 3, dtype=dtype)


@pytest.mark.parametrize("name", ALL_COSTS)
def test_a_block_is_a_part_of_the_matrix_prepared_or_not(name: str) -> None:
    x, y = clouds(2)
    cloud = partialot.PointCloud(x + 100, y + 100, ALL_COSTS[name], storage="blocks")
    for geometry in (cloud, cloud.prepare()):
        assert geometry.is_lazy
        assert_close(geometry.block(slice(2, 4)), cloud.matrix()[:, 2:4])


@pytest.mark.parametrize("name", COSTS)
def test_batches_of_the_two_clouds_are_broadcast(name: str) -> None:
    x, y = torch.randn(4, 1, 7, 3), torch.randn(2, 5, 3)
    cloud = partialot.PointCloud(x, y, name, storage="blocks")
    assert (cloud.batch_shape, cloud.size) == ((4, 2), (7, 5))
    assert_close(cloud.prepare().matrix(), COSTS[name](x.expand(4, 2, 7, 3), y.expand(4, 2, 5, 3)))


def test_prices_that_are_inner_products_are_written_where_there_is_room() -> None:
    cloud = partialot.PointCloud(*clouds(2), storage="blocks").prepare()
    room = torch.empty(100, dtype=torch.float64)
    block = cloud.block(slice(0, 3), room)
    assert block.data_ptr() == room.data_ptr()
    assert_close(block, cloud.block(slice(0, 3)))


def test_arrays_are_taken_like_tensors() -> None:
    x, y = clouds()
    assert torch.equal(partialot.PointCloud(x.numpy(), y.numpy()).matrix(), partialot.PointCloud(x, y).matrix())


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("storage", ["matrix", "blocks"])
def test_half_precision_features_are_priced_in_single(half: torch.dtype, storage: Any) -> None:
    x, y = clouds(dtype=half)
    cloud = partialot.PointCloud(x, y, storage=storage)
    assert torch.equal(cloud.matrix(), partialot.PointCloud(x.float(), y.float()).matrix())
    solution = partialot.solve(cloud, mass=0.5, reg=0.5)
    assert solution.plan.dtype == solution.value_linear.dtype == solution.marginal_a.dtype == half
    single = partialot.solve(partialot.PointCloud(x.float(), y.float()), mass=0.5, reg=0.5)
    assert_close(solution.plan.float(), single.plan, rtol=0.01, atol=1e-4)


@pytest.mark.parametrize("storage", ["matrix", "blocks"])
def test_autocast_computes_no_price_in_half_precision(storage: Any) -> None:
    x, y = clouds(dtype=torch.float32)
    plain = partialot.solve(partialot.PointCloud(x, y, storage=storage), reg=0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = partialot.solve(partialot.PointCloud(x, y, storage=storage), reg=0.5)
        assert_close(cast.value_linear, plain.value_linear)
    assert torch.equal(cast.value, plain.value)


def points(count: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """So many points in the memory of one."""
    return torch.zeros(1, 2, dtype=dtype).expand(count, 2)


@pytest.mark.parametrize(
    ("count", "dtype", "is_lazy"),
    [
        (1 << 14, torch.float32, False),
        ((1 << 14) + 1, torch.float32, True),
        (1 << 14, torch.float64, True),
        (1 << 14, torch.float16, False),
    ],
)
def test_a_matrix_is_stored_up_to_a_gibibyte(
    monkeypatch: pytest.MonkeyPatch, count: int, dtype: torch.dtype, *, is_lazy: bool
) -> None:
    monkeypatch.setattr(planner, "_memory", lambda device: 1 << 40)
    assert partialot.PointCloud(points(count, dtype), points(1 << 14, dtype)).is_lazy == is_lazy


def test_on_a_small_machine_a_matrix_is_stored_up_to_a_sixteenth_of_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "_memory", lambda device: 16 * 4 * 1000 * 1000)
    assert not partialot.PointCloud(points(1000), points(1000)).is_lazy
    assert partialot.PointCloud(points(1000), points(1001)).is_lazy
    assert partialot.PointCloud(points(1000).expand(2, 1000, 2), points(1000)).is_lazy
    assert planner._memory(torch.device("cpu")) > 0


def test_the_storage_asked_for_is_the_storage() -> None:
    x, y = clouds()
    assert partialot.PointCloud(x, y, storage="blocks").is_lazy
    assert not partialot.PointCloud(points(1 << 15), points(1 << 15), storage="matrix").is_lazy
    assert not partialot.PointCloud(x, y).is_lazy
    assert isinstance(partialot.PointCloud(x, y).prepare(), partialot.DenseCost)


def test_points_on_a_line_need_their_dimension() -> None:
    match = r"`y` must have the shape \(\*batch, points, d\)\. Found \(5,\)\. Pass .* d = 1"
    with pytest.raises(ValueError, match=match):
        partialot.PointCloud(torch.rand(7, 1), torch.rand(5))


def test_features_of_two_spaces_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one dimension d, their last\. Found 3 beside 2\. Embed both"):
        partialot.PointCloud(torch.rand(7, 3), torch.rand(5, 2))


def test_batches_that_do_not_broadcast_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must broadcast\. Found \(2,\) beside \(3,\)\. Add dimensions"):
        partialot.PointCloud(torch.rand(2, 7, 3), torch.rand(3, 5, 3))


def test_features_of_two_types_or_devices_are_refused() -> None:
    x, y = clouds()
    with pytest.raises(TypeError, match=r"one dtype\. Found torch\.float64 beside .*32\. Convert .*`x\.to\(torch\.fl"):
        partialot.PointCloud(x, y.float())
    with pytest.raises(TypeError, match=r"one device\. Found cpu beside meta\. Convert one, e\.g\. `x\.to\('meta'\)`"):
        partialot.PointCloud(x, y.to("meta"))


def test_features_of_other_numbers_are_refused() -> None:
    with pytest.raises(TypeError, match=r"`x` must be real and floating-point .*\. Found .*int64\. Convert"):
        partialot.PointCloud(np.zeros((7, 3), dtype=np.int64), torch.rand(5, 3))  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"`y` must be a torch\.Tensor or a NumPy array\. Found list\. Convert"):
        partialot.PointCloud(torch.rand(7, 3), [[0.0, 1.0, 2.0]])  # pyright: ignore[reportArgumentType]


def test_an_unknown_cost_is_refused_with_the_known_ones() -> None:
    x, y = clouds()
    match = r"`cost` must name .*\. Found 'manhattan'\. Pass one of cosine, sqeuclidean, euclidean, dot, or a function"
    with pytest.raises(ValueError, match=match):
        partialot.PointCloud(x, y, "manhattan")
    with pytest.raises(TypeError, match=r"`cost` must name a known cost or be a function\. Found 2\. Pass one of"):
        partialot.PointCloud(x, y, 2)  # pyright: ignore[reportArgumentType]


def test_an_unknown_storage_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'auto', 'matrix' or 'blocks'\. Found 'lazy'\. Pass 'blocks' to store no"):
        partialot.PointCloud(*clouds(), storage="lazy")  # pyright: ignore[reportArgumentType]


def test_a_function_must_price_every_pair() -> None:
    cloud = partialot.PointCloud(*clouds(2), lambda x, y: manhattan(x, y).mT)
    match = r"shape \(\*batch, r, m\), here \(2, 7, 5\)\. Found \(2, 5, 7\)\. Price every pair"
    with pytest.raises(ValueError, match=match):
        partialot.solve(cloud, reg=0.1)


def test_a_function_must_keep_the_type() -> None:
    cloud = partialot.PointCloud(*clouds(), lambda x, y: manhattan(x, y).float())
    with pytest.raises(TypeError, match=r"features' type, torch\.float64\. Found torch\.float32\. Convert inside"):
        partialot.solve(cloud, reg=0.1)
    cloud = partialot.PointCloud(*clouds(), lambda x, y: None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"features' type, torch\.float64\. Found NoneType\. Convert inside"):
        partialot.solve(cloud, reg=0.1)


def test_derivatives_by_what_is_no_feature_are_not_lost_in_silence() -> None:
    x, y = clouds()
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)

    def weighted(x: Tensor, y: Tensor) -> Tensor:
        return manhattan(weight * x, weight * y)

    with pytest.raises(
        ValueError, match=r"nothing .* but its arguments .*\. Found prices .*\. Pass `storage='matrix'`"
    ):
        partialot.solve(partialot.PointCloud(x, y, weighted, storage="blocks"), reg=0.5)
    with torch.no_grad():
        quiet = partialot.solve(partialot.PointCloud(x, y, weighted, storage="blocks"), reg=0.5).value
    value = partialot.solve(partialot.PointCloud(x, y, weighted), reg=0.5).value
    assert_close(quiet, value)
    value.backward()
    assert weight.grad is not None
    assert weight.grad.abs().min() > 0


def centred(x: Tensor, y: Tensor) -> Tensor:
    """A cost for which a source's prices depend on the others."""
    return manhattan(x - x.mean(-2, keepdim=True), y)


def test_a_function_that_does_not_price_each_row_by_itself_is_refused_not_wrong() -> None:
    match = r"must price each row by itself .*\. Found prices of a source that change .*\. Pass `storage='matrix'`"
    with pytest.raises(ValueError, match=match):
        partialot.solve(partialot.PointCloud(*clouds(2), centred, storage="blocks"), reg=0.5)


@pytest.mark.parametrize("tracked", [True, False])
def test_a_function_that_does_not_suit_blocks_has_its_matrix_written_out_however_large(
    monkeypatch: pytest.MonkeyPatch, *, tracked: bool
) -> None:
    """As `partialot.nn` relies on: the same answer and derivatives at any size."""
    monkeypatch.setattr(planner, "_memory", lambda device: 16)
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)
    unfit = (lambda x, y: manhattan(weight * x, y)) if tracked else centred
    cloud = partialot.PointCloud(*clouds(2), unfit)
    assert cloud.is_lazy
    assert isinstance(cloud.prepare(), partialot.DenseCost)
    assert not isinstance(partialot.PointCloud(*clouds(2), manhattan).prepare(), partialot.DenseCost)


def test_features_that_are_no_numbers_are_refused() -> None:
    x, y = clouds(2)
    x[1, 3, 0] = torch.nan
    for storage in ("matrix", "blocks"):
        with pytest.raises(
            ValueError, match=r"`cost` must hold numbers .*\. Found nan in problem 1 of the batch\. Rep"
        ):
            partialot.solve(partialot.PointCloud(x, y, storage=storage), reg=0.1)
