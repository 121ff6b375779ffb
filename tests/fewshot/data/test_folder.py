from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fewshot.data.folder import Folder
from fewshot.data.folds import pascal_fold
from fewshot.data.index import Index, StaleIndexError
from fewshot.data.labels import UNKNOWN
from fewshot.data.pools import Convention, DrawRule, evaluation_pool, training_pool
from fewshot.data.reading import read_image
from tests.fewshot.data.folder_tree import SHARED, write_classes, write_image, write_mask, write_shared

CUP, SPOON, FORK, LIGHT = 1, 2, 3, 4


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    write_shared(tmp_path / "photos")
    return Folder(tmp_path / "photos", tmp_path / "photos.json", held_out=("cup",))


def name_images(index: Index) -> tuple[str, str]:
    parts = (" ".join(Path(entry.image).stem for entry in split.entries) for split in (index.train, index.val))
    return next(parts), next(parts)


def test_images_of_a_held_out_class_are_for_the_test_and_the_others_to_train_on(folder: Folder) -> None:
    fold = folder.fold(0)
    assert (folder.fold_count, fold.held_in, fold.held_out) == (1, (SPOON, FORK, LIGHT), (CUP,))
    index = folder.load_index(0)
    assert name_images(index) == ("c e f g h", "a b d")
    assert evaluation_pool(index.val, fold, rule=folder.draw_rule).images_of == {CUP: (0, 1, 2)}
    pool = training_pool(index.train, fold, rule=folder.draw_rule)
    assert pool.images_of == {SPOON: (0, 3), FORK: (1,), LIGHT: (2, 3)}


def test_several_classes_are_held_out_by_name_in_whatever_order(folder: Folder) -> None:
    both = replace(folder, held_out=("traffic light", "cup"))
    assert both.fold(0).held_out == (CUP, LIGHT)
    assert name_images(both.load_index(0)) == ("c e h", "a b d f g")


@pytest.mark.parametrize(
    ("number", "held_out", "train", "val"),
    [
        (0, (CUP,), "c e f g h", "a b d"),
        (1, (SPOON,), "a d e f h", "b c g"),
        (2, (FORK,), "a b c f g h", "d e"),
        (3, (LIGHT,), "a b c d e h", "f g"),
    ],
)
def test_folds_hold_out_classes_in_turn_and_divide_the_images_anew(
    folder: Folder, number: int, held_out: tuple[int, ...], train: str, val: str
) -> None:
    folds = replace(folder, held_out=(), folds=4)
    assert folds.fold_count == 4
    assert folds.fold(number).held_out == held_out
    assert name_images(folds.load_index(number)) == (train, val)


def test_four_folds_of_twenty_classes_are_those_of_pascal(folder: Folder) -> None:
    (folder.root / "classes.txt").write_text("".join(f"class {label}\n" for label in range(1, 21)), "utf-8")
    folds = replace(folder, held_out=(), folds=4)
    assert [folds.fold(number) for number in range(4)] == [pascal_fold(number) for number in range(4)]


@pytest.mark.parametrize("min_pixels", [1, 4, 21, 35, 100])
@pytest.mark.parametrize("convention", ["keep", "exclude", "ignore"])
def test_no_image_is_to_train_and_to_test_on(folder: Folder, min_pixels: int, convention: Convention) -> None:
    folds = replace(folder, held_out=(), folds=4, min_pixels=min_pixels)
    for number in range(4):
        fold, index = folds.fold(number), folds.load_index(number)
        train = training_pool(index.train, fold, convention=convention, rule=DrawRule(min_pixels=1))
        for classes in ("held_out", "held_in"):
            test = evaluation_pool(index.val, fold, rule=DrawRule(min_pixels=1), classes=classes)
            assert {entry.image for entry in train.entries}.isdisjoint(entry.image for entry in test.entries)


def test_an_image_that_shows_too_little_of_a_held_out_class_is_trained_on_by_convention(folder: Folder) -> None:
    strict = replace(folder, min_pixels=4)
    assert strict.draw_rule == DrawRule(min_pixels=4)
    index = strict.load_index(0)
    assert name_images(index) == ("c d e f g h", "a b"), "three pixels of a cup do not count"
    pools = {
        name: training_pool(index.train, strict.fold(0), convention=name, rule=strict.draw_rule)
        for name in ("keep", "exclude")
    }
    assert {name: len(pool.images_of[FORK]) for name, pool in pools.items()} == {"keep": 2, "exclude": 1}


def test_an_image_and_its_labels_are_read(folder: Folder) -> None:
    entry = folder.load_index(0).val.entries[1]
    found = folder.read(entry)
    assert torch.equal(found.image, read_image(folder.root / "images/b.JPG"))
    values, counts = found.labels.unique(return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {UNKNOWN: 10, 0: 80, CUP: 40, SPOON: 30}
    assert entry.pixels == {CUP: 40, SPOON: 30}
    assert folder.read_instances(entry, CUP) is None


def test_folders_of_one_class_each_are_read(tmp_path: Path) -> None:
    write_classes(tmp_path / "photos", {"spoon": [20, 30], "cup": [40, 50, 0]})
    folder = Folder(tmp_path / "photos", tmp_path / "photos.json", held_out=("spoon",))
    index = folder.load_index(0)
    assert index.classes == ("cup", "spoon")
    assert [entry.pixels for entry in index.train.entries] == [{1: 40}, {1: 50}, {}]
    assert [entry.image for entry in index.val.entries] == ["spoon/images/0.jpg", "spoon/images/1.jpg"]
    assert folder.read(index.val.entries[1]).labels.unique(return_counts=True)[1].tolist() == [130, 30]
    assert folder.read(index.val.entries[1]).labels.unique().tolist() == [0, 2]


def test_an_index_serves_every_fold_and_is_made_once(folder: Folder) -> None:
    made = folder.load_index(0)
    folds = replace(folder, held_out=(), folds=2, min_pixels=5)
    for path in (folder.root / "masks").iterdir():
        path.write_bytes(b"x" * path.stat().st_size)
    assert folder.load_index(0) == made
    assert name_images(folds.load_index(1)) == ("a b c h", "d e f g")


def test_a_folder_that_has_changed_is_refused_until_its_index_is_rebuilt(folder: Folder) -> None:
    folder.load_index(0)
    write_image(folder.root / "images/i.png")
    write_mask(folder.root / "masks/i.png", {CUP: 20})
    with pytest.raises(StaleIndexError, match=r"Found other content in photos than .*\. Make the index again"):
        folder.load_index(0)
    folder.rebuild_index()
    assert name_images(folder.load_index(0)) == ("c e f g h", "a b d i")


def test_an_image_without_a_mask_is_refused(folder: Folder) -> None:
    (folder.root / "masks/c.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"Found 1 of 16 files missing, the first of them .*masks/c\.png\."):
        folder.load_index(0)


@pytest.mark.parametrize(
    ("held_out", "folds"),
    [((), 1), (("cup",), 2), ((), 0), (("cup",), 0)],
    ids=["neither", "both", "none", "name and none"],
)
def test_what_is_held_out_is_said_once(folder: Folder, held_out: tuple[str, ...], folds: int) -> None:
    with pytest.raises(ValueError, match=rf"Found `held_out = .*` and `folds = {folds}`\. Pass one of the two"):
        replace(folder, held_out=held_out, folds=folds)


@pytest.mark.parametrize(
    ("held_out", "found"),
    [(("cup", "cpu"), r"\['cpu'\]"), (("traffic light", "fork", "spoon", "cup"), r"\['traffic light', .*\]")],
)
def test_names_of_no_class_and_of_all_classes_are_refused(
    folder: Folder, held_out: tuple[str, ...], found: str
) -> None:
    with pytest.raises(ValueError, match=rf"Found {found} where .* has cup, spoon, fork, .*\. Correct the names"):
        replace(folder, held_out=held_out).load_index(0)


def test_a_fold_that_is_not_there_is_refused(folder: Folder) -> None:
    with pytest.raises(ValueError, match=r"between 0 and 0\. Found fold 1\. Count from 0"):
        folder.fold(1)
    with pytest.raises(ValueError, match=r"between 0 and 2\. Found fold 3\. Count from 0"):
        replace(folder, held_out=(), folds=3).load_index(3)
    with pytest.raises(ValueError, match=r"Found 4 classes and 5 folds\. Ask for fewer folds"):
        replace(folder, held_out=(), folds=5).fold(0)


def test_a_filter_that_absent_classes_pass_is_refused(folder: Folder) -> None:
    with pytest.raises(ValueError, match=r"at least 1\. Found `min_pixels = 0`\. Pass 1 for no filter"):
        replace(folder, min_pixels=0)


def test_no_process_is_refused(folder: Folder) -> None:
    with pytest.raises(ValueError, match=r"at least 1\. Found `processes = 0`\. Pass 1"):
        replace(folder, processes=0)


def test_every_image_of_the_tree_is_in_one_part(folder: Folder) -> None:
    train, val = name_images(folder.load_index(0))
    assert sorted([*train.split(), *val.split()]) == sorted(SHARED)
