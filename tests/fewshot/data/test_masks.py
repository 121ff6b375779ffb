from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot.data.labels import UNKNOWN
from fewshot.data.masks import GreyMask, LabelMask, ObjectMask, WrongLabelError, read_labelled, read_objects
from fewshot.data.reading import UnreadableImageError


def write(path: Path, values: list[list[int]]) -> Path:
    Image.fromarray(np.array(values, dtype=np.uint8)).save(path)
    return path


def test_a_mask_of_labels_keeps_them_and_255_is_unknown(tmp_path: Path) -> None:
    path = write(tmp_path / "mask.png", [[0, 1, 20, 255]])
    assert LabelMask(path, 20).read().tolist() == [[0, 1, 20, UNKNOWN]]
    assert LabelMask(path, 20).read().dtype == torch.int16


def test_labels_beyond_the_classes_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "mask.png", [[0, 20, 21, 80, 21]])
    with pytest.raises(
        WrongLabelError, match=r"labels 0 to 20 and 255 only\. Found \[21, 80\] in .*mask\.png\. Use the masks"
    ):
        LabelMask(path, 20).read()


def test_a_mask_of_one_class_is_it_wherever_another_number_than_0_is(tmp_path: Path) -> None:
    path = write(tmp_path / "mask.png", [[0, 1, 128, 255]])
    assert ObjectMask(path, 300).read().tolist() == [[0, 300, 300, 300]]


def test_a_mask_of_one_class_goes_by_its_numbers_not_by_its_colours(tmp_path: Path) -> None:
    image = Image.frombytes("P", (3, 1), bytes([0, 1, 2]))
    image.putpalette([255, 255, 255, 0, 0, 0, 0, 0, 0])
    image.save(tmp_path / "mask.png")
    assert ObjectMask(tmp_path / "mask.png", 4).read().tolist() == [[0, 4, 4]]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_a_grey_mask_is_its_class_from_middle_grey_on(tmp_path: Path, mode: str) -> None:
    Image.fromarray(np.array([[0, 127, 128, 255]], dtype=np.uint8)).convert(mode).save(tmp_path / "mask.png")
    assert GreyMask(tmp_path / "mask.png", 761).read().tolist() == [[0, 0, 761, 761]]


def test_a_photograph_and_its_labels_are_read_together(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2), (10, 20, 30)).save(tmp_path / "image.png")
    found = read_labelled(tmp_path / "image.png", LabelMask(write(tmp_path / "mask.png", [[0, 1, 2]] * 2), 2))
    assert found.image[:, 0, 0].tolist() == [10, 20, 30]
    assert found.labels.tolist() == [[0, 1, 2], [0, 1, 2]]


def test_a_mask_of_another_size_than_its_photograph_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2)).save(tmp_path / "image.png")
    with pytest.raises(
        WrongLabelError, match=r"Found \(2, 3\) in .*image\.png and \(1, 3\) in .*mask\.png \(height, width\)\. Fetch"
    ):
        read_labelled(tmp_path / "image.png", LabelMask(write(tmp_path / "mask.png", [[0, 1, 2]]), 2))


def test_objects_are_cut_out_of_the_mask_of_a_class(tmp_path: Path) -> None:
    mask = LabelMask(write(tmp_path / "mask.png", [[1, 1, 1, 2, 0, 255]]), 2)
    objects = write(tmp_path / "objects.png", [[4, 4, 7, 7, 7, 255]])
    first = read_objects(objects, mask, 1)
    assert first is not None
    assert first.tolist() == [[[True, True, False, False, False, False]], [[False, False, True, False, False, False]]]
    second = read_objects(objects, mask, 2)
    assert second is not None
    assert second.tolist() == [[[False, False, False, True, False, False]]]


def test_a_class_without_objects_has_none(tmp_path: Path) -> None:
    mask = LabelMask(write(tmp_path / "mask.png", [[1, 1, 0]]), 2)
    assert read_objects(write(tmp_path / "objects.png", [[0, 255, 3]]), mask, 1) is None
    assert read_objects(write(tmp_path / "objects.png", [[0, 0, 3]]), mask, 2) is None


@pytest.mark.parametrize("kind", [LabelMask, ObjectMask, GreyMask])
def test_a_missing_mask_is_refused(tmp_path: Path, kind: type[LabelMask]) -> None:
    with pytest.raises(UnreadableImageError, match=r"Found nothing at .*none\.png\. Correct the path"):
        kind(tmp_path / "none.png", 3).read()
