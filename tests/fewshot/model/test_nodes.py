import pytest
import torch
from torch.testing import assert_close

from fewshot.model.nodes import (
    NodeFeatures,
    NodeMasks,
    confident_foreground,
    find_nodes,
    foreground_share,
    scale_to_unit,
    valid_nodes,
)


def test_an_object_of_a_few_pixels_keeps_its_share_on_a_coarse_grid() -> None:
    masks = torch.zeros(1, 1, 473, 473, dtype=torch.long)
    masks[..., 101:107, 205:211] = 1
    share = foreground_share(masks, (30, 30))
    assert share.max() > 0.1
    # Windows of 473 pixels on 30 nodes overlap by one pixel here and there.
    assert_close(share.mean(), masks.float().mean(), rtol=0.2, atol=0.0)


@pytest.mark.parametrize("label", [0, 2, 255])
def test_labels_other_than_the_object_count_as_background(label: int) -> None:
    assert foreground_share(torch.full((1, 1, 8, 8), label), (2, 2)).eq(0).all()


def test_annotation_is_binary_where_the_object_covers_half_a_node() -> None:
    share = torch.tensor([[0.5, 0.49, 1.0, 0.0]])
    assert confident_foreground(share).tolist() == [[1.0, 0.0, 1.0, 0.0]]


def test_annotation_of_a_small_object_stays_soft() -> None:
    share = torch.tensor([[0.25, 0.0, 0.125, 0.0]])
    assert_close(confident_foreground(share), share)


def test_each_mask_of_a_batch_is_judged_for_itself() -> None:
    share = torch.tensor([[[0.75, 0.25]], [[0.25, 0.0]]])
    assert confident_foreground(share).tolist() == [[[1.0, 0.0]], [[0.25, 0.0]]]


def test_nodes_on_padding_are_not_valid() -> None:
    valid = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    valid[..., :8, :12] = True
    expected = torch.zeros(4, 4, dtype=torch.bool)
    expected[:2, :3] = True
    assert torch.equal(valid_nodes(valid, (4, 4))[0, 0], expected)


def test_an_image_smaller_than_half_a_node_keeps_the_node_it_lies_on() -> None:
    valid = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    valid[..., 5, 9] = True
    assert valid_nodes(valid, (4, 4)).nonzero().tolist() == [[0, 0, 1, 2]]


def test_an_image_of_padding_alone_is_refused_with_a_remedy() -> None:
    valid = torch.ones(2, 3, 8, 8, dtype=torch.bool)
    valid[1, 2] = False
    with pytest.raises(ValueError, match=r"Found none in image \[1, 2\].* Leave images that are padding throughout"):
        valid_nodes(valid, (2, 2))


def test_without_validity_every_node_is_valid() -> None:
    masks = find_nodes(torch.ones(2, 3, 8, 8, dtype=torch.long), None, None, (4, 6), (2, 2))
    assert masks.query_valid.shape == (2, 4, 6)
    assert masks.query_valid.all()
    assert masks.support_valid.shape == (2, 3, 2, 2)
    assert masks.support_valid.all()


def test_an_object_on_padding_does_not_count() -> None:
    valid = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    valid[..., :4, :] = True
    masks = find_nodes(torch.ones(1, 1, 8, 8, dtype=torch.long), None, valid, (2, 2), (2, 2))
    assert masks.foreground.tolist() == [[[[1.0, 1.0], [0.0, 0.0]]]]


def test_an_object_on_the_padding_of_a_node_that_is_half_image_does_not_count() -> None:
    valid = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    valid[..., :6, :] = True
    masks = find_nodes(torch.ones(1, 1, 8, 8, dtype=torch.long), None, valid, (2, 2), (2, 2))
    assert masks.foreground.tolist() == [[[[1.0, 1.0], [0.5, 0.5]]]]


def test_features_are_kept_on_the_image_and_zero_on_padding_even_if_they_were_no_numbers() -> None:
    query_valid, support_valid = torch.rand(2, 3, 4) > 0.5, torch.rand(2, 2, 5, 3) > 0.5
    query, supports = torch.rand(2, 6, 3, 4), torch.rand(2, 2, 6, 5, 3)
    painted = NodeFeatures(
        query.masked_fill(~query_valid.unsqueeze(1), torch.nan),
        supports.masked_fill(~support_valid.unsqueeze(2), torch.inf),
    )
    kept = painted.keep(NodeMasks(query_valid, support_valid, torch.zeros(2, 2, 5, 3)))
    assert torch.equal(kept.query, query * query_valid.unsqueeze(1))
    assert torch.equal(kept.supports, supports * support_valid.unsqueeze(2))


def test_scaled_maps_span_zero_to_one_over_valid_nodes_only() -> None:
    maps = torch.tensor([[[5.0, 7.0], [9.0, 100.0]]])
    valid = torch.tensor([[[True, True], [True, False]]])
    assert scale_to_unit(maps, valid).tolist() == [[[0.0, 0.5], [1.0, 0.0]]]


def test_a_constant_map_becomes_zero_with_finite_gradient() -> None:
    maps = torch.full((2, 3, 3), 4.0, requires_grad=True)
    scaled = scale_to_unit(maps, torch.ones(2, 3, 3, dtype=torch.bool))
    scaled.sum().backward()
    assert scaled.eq(0).all()
    assert maps.grad is not None
    assert maps.grad.isfinite().all()
