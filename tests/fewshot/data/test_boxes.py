from dataclasses import replace

import jaxtyping
import pytest
import torch
from torch import Tensor

from fewshot.data.boxes import Box, SupportAnnotation, boxes_from_mask, mask_from_boxes
from fewshot.episode import IGNORED

BOX = SupportAnnotation("box")


def paint(*boxes: Box, value: int = 1, onto: Tensor | None = None) -> Tensor:
    mask = torch.zeros(20, 30, dtype=torch.uint8) if onto is None else onto.clone()
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = value
    return mask


@pytest.fixture
def mask() -> Tensor:
    """An L of 40 pixels in the upper left, a square of 16 on the right and one of 4 below; a void rim under the L."""
    drawn = paint((2, 1, 6, 9), (6, 7, 10, 9), (20, 3, 24, 7), (15, 15, 17, 17))
    return paint((2, 9, 12, 10), value=IGNORED, onto=drawn)


def test_each_object_of_enough_pixels_gets_the_box_around_it(mask: Tensor) -> None:
    assert torch.equal(boxes_from_mask(mask, BOX), paint((2, 1, 10, 9), (20, 3, 24, 7)))
    assert torch.equal(boxes_from_mask(mask, replace(BOX, min_pixels=17)), paint((2, 1, 10, 9)))
    every = paint((2, 1, 10, 9), (20, 3, 24, 7), (15, 15, 17, 17))
    assert torch.equal(boxes_from_mask(mask, replace(BOX, min_pixels=4)), every)


def test_where_all_objects_are_small_the_largest_gets_a_box(mask: Tensor) -> None:
    assert torch.equal(boxes_from_mask(mask, replace(BOX, min_pixels=41)), paint((2, 1, 10, 9)))


def test_unknown_pixels_are_background_unless_they_are_restored(mask: Tensor) -> None:
    mask = paint((9, 1, 10, 3), value=IGNORED, onto=mask)
    plain = boxes_from_mask(mask, BOX)
    assert plain.unique().tolist() == [0, 1]
    restored = boxes_from_mask(mask, replace(BOX, restore_void=True))
    assert torch.equal(restored == IGNORED, mask == IGNORED)
    assert torch.equal(restored == 1, (plain == 1) & (mask != IGNORED))


def test_parts_that_touch_at_a_corner_are_one_object() -> None:
    assert torch.equal(boxes_from_mask(paint((0, 0, 4, 4), (4, 4, 8, 8)), BOX), paint((0, 0, 8, 8)))


def test_the_mask_is_left_as_it_was(mask: Tensor) -> None:
    before = mask.clone()
    boxes_from_mask(mask, replace(BOX, restore_void=True))
    assert torch.equal(mask, before)


def test_instances_part_what_the_mask_joins_and_join_what_it_parts() -> None:
    mask = paint((0, 0, 5, 5), (5, 0, 10, 10), (20, 10, 25, 15))
    instances = (
        torch.stack([paint((0, 0, 5, 5), (20, 10, 25, 15)), paint((5, 0, 10, 10)), paint((28, 18, 30, 20))]) == 1
    )
    boxes = boxes_from_mask(mask, replace(BOX, instances=True), instances)
    assert torch.equal(boxes, paint((0, 0, 25, 15), (5, 0, 10, 10)))
    assert torch.equal(boxes_from_mask(mask, BOX), paint((0, 0, 10, 10), (20, 10, 25, 15)))


def test_of_instances_too_the_largest_gets_a_box_where_all_are_small() -> None:
    instances = torch.stack([paint((0, 0, 2, 2)), paint((9, 9, 12, 12)), torch.zeros(20, 30, dtype=torch.uint8)]) == 1
    boxes = boxes_from_mask(paint((0, 0, 2, 2), (9, 9, 12, 12)), replace(BOX, instances=True), instances)
    assert torch.equal(boxes, paint((9, 9, 12, 12)))


@pytest.mark.parametrize("instances", [None, torch.zeros(0, 20, 30, dtype=torch.bool)], ids=["parts", "instances"])
def test_a_mask_without_an_object_is_refused(instances: Tensor | None) -> None:
    void = paint((0, 0, 9, 9), value=IGNORED)
    with pytest.raises(ValueError, match=r"Found none in the mask or the instances\. Draw episodes from a pool"):
        boxes_from_mask(void, BOX, instances)


def test_boxes_of_a_user_are_half_open_and_may_overlap() -> None:
    mask = mask_from_boxes((4, 6), [(0, 0, 2, 1), (1, 0, 6, 2)])
    assert mask.dtype == torch.uint8
    assert mask.tolist() == [[1] * 6, [0, 1, 1, 1, 1, 1], [0] * 6, [0] * 6]


def test_no_box_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Found none\. Draw one around each object"):
        mask_from_boxes((4, 6), [])


@pytest.mark.parametrize(
    "box", [(2, 0, 2, 3), (3, 0, 2, 3), (0, 3, 2, 3), (-1, 0, 2, 3), (0, -1, 2, 3), (0, 0, 7, 3), (0, 0, 2, 5)], ids=str
)
def test_boxes_that_are_empty_or_reach_out_are_refused(box: Box) -> None:
    with pytest.raises(ValueError, match=r"x1 <= 6 and 0 <= y0 < y1 <= 4.* Found \(.*\)\. Count pixels from the upper"):
        mask_from_boxes((4, 6), [(0, 0, 2, 1), box])


def test_an_unknown_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # It would refuse the name before we do.
    with pytest.raises(ValueError, match=r"mask, box\. Found `kind = 'scribble'`\. Correct its spelling"):
        SupportAnnotation("scribble")  # pyright: ignore[reportArgumentType]


def test_boxes_around_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Found `min_pixels = 0`\. Pass 1 for a box around every object"):
        SupportAnnotation("box", min_pixels=0)


@pytest.mark.parametrize("option", ["instances", "restore_void"])
def test_options_of_boxes_are_refused_for_masks(option: str) -> None:
    with pytest.raises(ValueError, match=rf"`{option} = True`.*\. Pass `kind = 'box'`, or leave them out"):
        SupportAnnotation("mask", **{option: True})
