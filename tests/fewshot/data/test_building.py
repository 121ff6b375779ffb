from dataclasses import replace
from pathlib import Path

import pytest

from fewshot.data.building import IndexRecipe, build_index, keep_index
from fewshot.data.index import StaleIndexError
from fewshot.data.lists import ListedImage, UnusableListError, read_lists
from fewshot.data.masks import LabelMask
from fewshot.data.scanning import MaskScan
from fewshot.data.storage import DamagedFileError
from tests.fewshot.data.voc_tree import TRAIN, VAL, write_image_list, write_pair_list

CLASSES = tuple(f"class {label}" for label in range(1, 21))


@pytest.fixture
def recipe(voc_root: Path) -> IndexRecipe:
    def scan(listed: ListedImage) -> MaskScan:
        return MaskScan(LabelMask(voc_root / listed.mask, 20), voc_root / listed.image)

    return IndexRecipe(CLASSES, read_lists([voc_root / "train.txt"]), read_lists([voc_root / "val.txt"]), scan)


def test_an_index_holds_what_the_lists_name_and_what_the_masks_show(recipe: IndexRecipe) -> None:
    index = build_index(recipe)
    assert index.classes == CLASSES
    for split, images in ((index.train, TRAIN), (index.val, VAL)):
        assert [entry.image for entry in split.entries] == [f"JPEGImages/{name}.jpg" for name in images]
        assert [entry.pixels for entry in split.entries] == list(images.values())
    assert (index.val.lists, index.val.digest, index.val.duplicates) == (("val.txt",), recipe.val.digest, 0)


def test_several_processes_make_the_same_index(recipe: IndexRecipe) -> None:
    assert build_index(recipe, processes=2) == build_index(recipe)


def test_an_index_that_is_there_is_read_not_made(recipe: IndexRecipe, voc_root: Path, tmp_path: Path) -> None:
    made = keep_index(tmp_path / "folder/index.json", recipe)
    for path in (voc_root / "SegmentationClassAug").iterdir():
        path.unlink()
    assert keep_index(tmp_path / "folder/index.json", recipe) == made


def test_a_failure_leaves_no_index(recipe: IndexRecipe, voc_root: Path, tmp_path: Path) -> None:
    (voc_root / "SegmentationClassAug/2010_000003.png").unlink()
    with pytest.raises(FileNotFoundError, match="Found 1 of 18 files missing"):
        keep_index(tmp_path / "index.json", recipe)
    assert not (tmp_path / "index.json").exists()


@pytest.mark.parametrize("part", ["train", "val"])
def test_an_index_of_other_lists_is_refused(recipe: IndexRecipe, tmp_path: Path, part: str) -> None:
    keep_index(tmp_path / "index.json", recipe)
    listing = read_lists([write_image_list(tmp_path / "other.txt", ["2007_000001"])])
    other = replace(recipe, train=listing) if part == "train" else replace(recipe, val=listing)
    message = rf"other content in other\.txt than in the `{part}` .* \({part}\.txt\)\. Make the index again"
    with pytest.raises(StaleIndexError, match=message):
        keep_index(tmp_path / "index.json", other)


def test_an_index_of_other_classes_is_refused(recipe: IndexRecipe, tmp_path: Path) -> None:
    keep_index(tmp_path / "index.json", recipe)
    with pytest.raises(StaleIndexError, match=r"Found class 1, class 2.* in place of cat, dog\. Make the index again"):
        keep_index(tmp_path / "index.json", replace(recipe, classes=("cat", "dog")))


def test_a_damaged_index_is_refused(recipe: IndexRecipe, tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text("{", "utf-8")
    with pytest.raises(DamagedFileError, match=r"Found no index or half of one .*\. Delete the file"):
        keep_index(tmp_path / "index.json", recipe)


def test_an_image_to_train_and_to_test_on_is_refused(recipe: IndexRecipe, tmp_path: Path) -> None:
    val = read_lists([write_image_list(tmp_path / "val.txt", [*VAL, "2009_000005"])])
    with pytest.raises(
        UnusableListError, match=r"Found 1, among them JPEGImages/2009_000005\.jpg, in train\.txt, val\.txt\. Leave"
    ):
        build_index(replace(recipe, val=val))


def test_an_image_listed_under_a_class_that_it_does_not_show_is_refused(recipe: IndexRecipe, tmp_path: Path) -> None:
    pairs = read_lists([write_pair_list(tmp_path / "pairs.txt", [("2007_000001", 15), ("2007_000001", 7)])])
    with pytest.raises(
        UnusableListError, match=r"no pixel of class 7 in .*2007_000001\.png, listed in pairs\.txt\. Use"
    ):
        build_index(replace(recipe, train=pairs))
