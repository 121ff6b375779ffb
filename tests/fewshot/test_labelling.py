import numpy as np
import pytest
import torch

from fewshot.labelling import list_boxes, read_annotation


@pytest.mark.parametrize("given", [(1, 2, 3), [(1, 2, 3)], [(0, 0, 5.5, 9)], [7], 7, [None], ["1,2,3,4"]], ids=str)
def test_what_is_neither_mask_nor_box_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match=r"Found .+ for photo\.png\. Pass the path of a mask, or four whole numbers"):
        list_boxes(given, "photo.png")


@pytest.mark.parametrize("given", [(1, 2, 3, 4), [1, 2, 3, 4], [(1, 2, 3, 4)], ([1, 2, 3, 4],)], ids=str)
def test_a_single_box_needs_no_list_about_it(given: object) -> None:
    assert list_boxes(given, "photo.png") == [(1, 2, 3, 4)]


def test_boxes_may_be_of_numpys_numbers() -> None:
    given = tuple(np.array([1, 2, 3, 4]))
    assert list_boxes(given, "photo.png") == list_boxes([given], "photo.png") == [(1, 2, 3, 4)]


def test_boxes_become_a_mask_of_the_size_of_the_image() -> None:
    mask = read_annotation([(0, 1, 2, 3), (4, 0, 5, 1)], "photo.png", torch.zeros(3, 4, 6, dtype=torch.uint8))
    expected = torch.zeros(4, 6, dtype=torch.uint8)
    expected[1:3, :2] = expected[0, 4] = 1
    assert torch.equal(mask, expected)
