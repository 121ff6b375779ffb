import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from fewshot.model.grids import extend_over_padding, pool_over_valid, pool_share


def valid_corner(rows: int, columns: int, grid: tuple[int, int] = (8, 10)) -> Tensor:
    valid = torch.zeros(1, *grid, dtype=torch.bool)
    valid[:, :rows, :columns] = True
    return valid


def test_a_coarser_node_is_the_mean_of_the_valid_nodes_in_it() -> None:
    features = torch.tensor([[[[1.0, 3.0, 5.0, 9.0], [1.0, 3.0, 9.0, 9.0]]]])
    valid = torch.tensor([[[True, True, True, False], [True, True, False, False]]])
    assert pool_over_valid(features, valid, (1, 2)).tolist() == [[[[2.0, 5.0]]]]
    assert pool_share(valid.float(), (1, 2)).tolist() == [[[1.0, 0.25]]]


def test_a_coarser_node_of_padding_alone_is_zero() -> None:
    pooled = pool_over_valid(torch.full((1, 2, 8, 10), 7.0), valid_corner(4, 5), (4, 5))
    assert pooled[:, :, :2, :2].eq(7).all()
    assert pooled[:, :, 2:].eq(0).all()
    assert pooled[..., 3:].eq(0).all()


def test_pooling_takes_the_supports_of_a_task_at_once() -> None:
    features, valid = torch.rand(2, 3, 4, 8, 10), torch.rand(2, 3, 8, 10) > 0.3
    pooled = pool_over_valid(features, valid, (4, 5))
    assert_close(pooled[1, 2:], pool_over_valid(features[1, 2:], valid[1, 2:], (4, 5)))
    assert_close(pool_share(valid.float(), (4, 5))[1], pool_share(valid[1].float(), (4, 5)))


@pytest.mark.parametrize(("top", "left"), [(0, 0), (2, 0), (0, 3), (2, 3)])
def test_interpolation_over_extended_padding_ends_as_if_the_grid_had_ended(top: int, left: int) -> None:
    image = torch.rand(1, 3, 5, 6)
    placed, valid = torch.full((1, 3, 9, 11), torch.nan), torch.zeros(1, 9, 11, dtype=torch.bool)
    placed[..., top : top + 5, left : left + 6] = image
    valid[..., top : top + 5, left : left + 6] = True
    # Eight pixels lie between two nodes, as in an image of 8 n + 1 pixels.
    whole = functional.interpolate(extend_over_padding(placed, valid), (65, 81), mode="bilinear", align_corners=True)
    alone = functional.interpolate(image, (33, 41), mode="bilinear", align_corners=True)
    assert_close(whole[..., 8 * top : 8 * top + 33, 8 * left : 8 * left + 41], alone, rtol=1e-4, atol=1e-5)


def test_padding_of_any_shape_takes_the_nearest_valid_value_of_its_row() -> None:
    maps = torch.arange(12.0).view(1, 1, 3, 4)
    valid = torch.tensor([[[False, True, False, False], [False, False, False, False], [True, False, False, True]]])
    extended = extend_over_padding(maps, valid)
    assert extended.tolist() == [[[[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], [8.0, 8.0, 11.0, 11.0]]]]


def test_where_nothing_is_padded_or_everything_nothing_changes() -> None:
    maps = torch.rand(2, 3, 4, 5)
    for valid in (torch.ones(2, 4, 5, dtype=torch.bool), torch.zeros(2, 4, 5, dtype=torch.bool)):
        assert torch.equal(extend_over_padding(maps, valid), maps)


def test_every_image_of_a_batch_is_extended_by_its_own_padding() -> None:
    maps = torch.rand(2, 3, 8, 10)
    valid = torch.cat([valid_corner(4, 10), valid_corner(8, 3)])
    extended = extend_over_padding(maps, valid)
    assert torch.equal(extended[0, :, 4:], maps[0, :, 3:4].expand(-1, 4, -1))
    assert torch.equal(extended[1, :, :, 3:], maps[1, :, :, 2:3].expand(-1, -1, 7))
