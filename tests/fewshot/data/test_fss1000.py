from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fewshot.data.fss1000 import FSS1000
from fewshot.data.index import StaleIndexError
from fewshot.data.lists import UnusableListError
from fewshot.data.pools import DrawRule, evaluation_pool, training_pool
from fewshot.data.reading import read_image
from tests.fewshot.data.fss_tree import SIDE, TEST, TRAIN, write_names, write_tree

FISH = "abe's_flyingfish"


@pytest.fixture
def fss(tmp_path: Path) -> FSS1000:
    root = tmp_path / "fewshot_data"
    write_tree(root)
    return FSS1000(
        root, write_names(tmp_path / "trn.txt", TRAIN), write_names(tmp_path / "test.txt", TEST), tmp_path / "fss.json"
    )


def test_the_fold_trains_on_one_list_and_tests_on_the_other(fss: FSS1000) -> None:
    assert fss.fold_count == 1
    fold, index = fss.fold(0), fss.load_index(0)
    assert (fold.held_in, fold.held_out) == ((1, 2, 3), (4, 5))
    assert index.classes == (*TRAIN, *TEST)
    assert [entry.image for entry in index.val.entries] == [
        f"{name}/{number}.jpg" for name in TEST for number in range(1, 11)
    ]
    assert len(index.train.entries) == 30


@pytest.mark.parametrize("number", [-1, 1])
def test_another_fold_is_refused(fss: FSS1000, number: int) -> None:
    with pytest.raises(ValueError, match=rf"between 0 and 0\. Found fold {number}\. Count from 0"):
        fss.fold(number)
    with pytest.raises(ValueError, match=rf"Found fold {number}\. Count from 0"):
        fss.load_index(number)


def test_a_mask_is_its_class_from_middle_grey_on(fss: FSS1000) -> None:
    index = fss.load_index(0)
    entry = index.val.entries[12]
    assert (entry.image, entry.pixels) == (f"{FISH}/3.jpg", {5: 3 * SIDE})
    found = fss.read(entry)
    assert torch.equal(found.image, read_image(fss.root / entry.image))
    assert (found.labels[:3] == 5).all()
    assert (found.labels[3:] == 0).all()


def test_every_picture_counts_for_its_class_however_small_the_object(fss: FSS1000) -> None:
    assert fss.draw_rule == DrawRule(min_pixels=1)
    index, fold = fss.load_index(0), fss.fold(0)
    test = evaluation_pool(index.val, fold, rule=fss.draw_rule)
    assert test.images_of == {4: tuple(range(10)), 5: tuple(range(10, 20))}
    train = training_pool(index.train, fold, convention="exclude", rule=fss.draw_rule)
    assert [len(images) for images in train.images_of.values()] == [10, 10, 10]


def test_classes_to_choose_checkpoints_by_stand_in_the_place_of_those_to_test_on(fss: FSS1000, tmp_path: Path) -> None:
    write_tree(fss.root, ["thor's_hammer"])
    val = replace(fss, test=write_names(tmp_path / "val.txt", ["thor's_hammer"]), index=tmp_path / "val.json")
    assert val.fold(0).held_in == fss.fold(0).held_in
    assert val.load_index(0).train == fss.load_index(0).train
    assert val.load_index(0).classes[3:] == ("thor's_hammer",)


def test_more_classes_than_bytes_can_hold_have_labels_of_their_own(tmp_path: Path) -> None:
    names = [f"class_{number}" for number in range(1, 521)]
    write_tree(tmp_path / "data", [names[254], "bus"])
    fss = FSS1000(
        tmp_path / "data",
        write_names(tmp_path / "trn.txt", names),
        write_names(tmp_path / "test.txt", ["bus"]),
        tmp_path / "fss.json",
    )
    assert fss.fold(0).held_out == (521,)
    small = replace(fss, train=write_names(tmp_path / "two.txt", [names[254]]))
    train, test = small.load_index(0).train.entries[1], small.load_index(0).val.entries[1]
    assert fss.read(train).labels.unique().tolist() == [0, 255]
    assert fss.read(test).labels.unique().tolist() == [0, 521]


def test_an_index_is_made_once(fss: FSS1000) -> None:
    made = fss.load_index(0)
    (fss.root / FISH / "10.png").unlink()
    assert fss.load_index(0) == made
    with pytest.raises(FileNotFoundError, match=r"Found 1 of 100 files missing, the first of them .*abe's_flyingfish"):
        fss.rebuild_index()


def test_an_index_of_other_lists_is_refused_until_it_is_rebuilt(fss: FSS1000, tmp_path: Path) -> None:
    fss.load_index(0)
    other = replace(fss, train=write_names(tmp_path / "other.txt", TRAIN[:2]))
    with pytest.raises(StaleIndexError, match=r"Found other content in other\.txt than in the `train` .*\. Make the"):
        other.load_index(0)
    other.rebuild_index()
    assert len(other.load_index(0).train.entries) == 20


def test_a_class_to_train_and_to_test_on_is_refused(fss: FSS1000, tmp_path: Path) -> None:
    other = replace(fss, test=write_names(tmp_path / "both.txt", ["taxi", "bus"]))
    with pytest.raises(UnusableListError, match=r"Found 1 such, among them 'taxi', in .*both\.txt\. Leave them out"):
        other.load_index(0)


def test_a_class_that_has_no_folder_is_refused(fss: FSS1000, tmp_path: Path) -> None:
    other = replace(fss, test=write_names(tmp_path / "misspelt.txt", ["abes_flyingfish"]))
    with pytest.raises(FileNotFoundError, match=r"Found 20 of 80 files missing, the first of them .*abes_flyingfish"):
        other.load_index(0)


def test_no_process_is_refused(fss: FSS1000) -> None:
    with pytest.raises(ValueError, match=r"at least 1\. Found `processes = 0`\. Pass 1"):
        replace(fss, processes=0)
