import numpy as np
import pycocotools.mask
import pytest

from fewshot.data.decoding import decode_runs, fill_polygons
from tests.fewshot.data.coco_tree import HEIGHT, WIDTH, box, packed, runs


def test_a_polygon_is_filled() -> None:
    expected = np.zeros((6, 8), dtype=bool)
    expected[1:4, 2:7] = True
    assert np.array_equal(fill_polygons([np.array(box(2, 1, 7, 4))], 6, 8), expected)


def test_polygons_that_overlap_stay_filled() -> None:
    found = fill_polygons([np.array(box(0, 0, 4, 6)), np.array(box(2, 0, 8, 6))], 6, 8)
    assert found.all()


def test_no_polygon_fills_nothing() -> None:
    assert not fill_polygons([], 6, 8).any()


def test_run_lengths_go_down_one_column_after_another() -> None:
    found = decode_runs({"counts": [1, 2, 9], "size": [3, 4]}, 3, 4)
    assert found is not None
    assert found.astype(int).tolist() == [[0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]


@pytest.mark.parametrize("write", [runs, packed])
def test_run_lengths_of_another_image_are_none(write: type) -> None:
    assert decode_runs(write(0, 0, 5, 5), HEIGHT, WIDTH) is not None
    assert decode_runs(write(0, 0, 5, 5), WIDTH, HEIGHT) is None


def test_packed_runs_that_are_too_short_are_none_even_where_the_memory_happened_to_be_clean(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short = packed(10, 10, 70, 50)
    short["counts"] = short["counts"][:2]
    monkeypatch.setattr(pycocotools.mask, "decode", lambda _: np.zeros((HEIGHT, WIDTH), dtype=np.uint8, order="F"))
    assert decode_runs(short, HEIGHT, WIDTH) is None
