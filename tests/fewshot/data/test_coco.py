from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fewshot.data.coco import Coco
from fewshot.data.folds import COCO_CLASSES, coco_fold
from fewshot.data.index import StaleIndexError
from fewshot.data.labels import UNKNOWN
from fewshot.data.painting import ForeignMasksError
from fewshot.data.pools import DrawRule, evaluation_pool, training_pool
from fewshot.data.reading import read_image
from fewshot.pretraining.supervision import Supervision
from tests.fewshot.data.coco_tree import BICYCLE, CAR, PERSON, STOP_SIGN, TIE, TRAIN, VAL, box, write_annotations


@pytest.fixture
def coco(coco_root: Path) -> Coco:
    return Coco(coco_root, coco_root / "cache/coco.json")


@pytest.fixture
def listed(coco: Coco) -> Coco:
    """The same images with masks that were there before, in the layout of PFENet's lists."""
    coco.load_index(0)
    cache, lists = coco.root / "cache", []
    for part in ("train2014", "val2014"):
        (cache / "coco/labels" / part).rename(coco.root / part / "masks")
        lines = [
            f"{part}/COCO_{part}_{name}.jpg {part}/masks/COCO_{part}_{name}.png\n"
            for name, objects in {**TRAIN, **VAL}.items()
            if (coco.root / part / f"COCO_{part}_{name}.jpg").exists() and not all(crowd for *_, crowd in objects)
        ]
        lists.append(coco.root / f"{part}.txt")
        lists[-1].write_text("".join(lines), "utf-8")
    return replace(coco, index=cache / "listed.json", train=(lists[0],), val=(lists[1],))


def test_the_index_holds_every_image_with_an_object(coco: Coco) -> None:
    index = coco.load_index(0)
    assert index.classes == COCO_CLASSES
    assert [entry.image for entry in index.train.entries] == [
        f"train2014/COCO_train2014_{name}.jpg" for name in list(TRAIN)[:4]
    ]
    assert [entry.pixels for entry in index.train.entries] == [
        {PERSON: 75 * 55},
        {PERSON: 60 * 60 - 300, TIE: 300},
        {CAR: 60 * 40},
        {BICYCLE: 800},
    ]
    assert [entry.pixels for entry in index.val.entries] == [{STOP_SIGN: 3600}, {PERSON: 3600}]


def test_the_index_knows_of_crowds_though_they_are_nothing_to_ask_about(coco: Coco) -> None:
    index = coco.load_index(0)
    assert [entry.crowds for entry in index.train.entries] == [(), (), (PERSON,), ()]
    assert [entry.crowds for entry in coco.load_index(0).train.entries] == [(), (), (PERSON,), ()], "from its file"
    pool = training_pool(index.train, coco.fold(3), rule=DrawRule(min_pixels=1))
    assert pool.images_of[PERSON] == (0, 1)
    assert 2 in pool.images_of[CAR]


def test_an_image_with_a_crowd_of_a_held_out_class_is_excluded(coco: Coco) -> None:
    index, fold = coco.load_index(0), coco.fold(0)
    assert PERSON in fold.held_out
    assert CAR in fold.held_in
    name = index.train.entries[2].image
    kept, left = (training_pool(index.train, fold, convention=rule) for rule in ("keep", "exclude"))
    assert name in {entry.image for entry in kept.entries}
    assert name not in {entry.image for entry in left.entries}
    stage1 = [Supervision(coco, index, fold, rule).entries for rule in ("keep", "exclude")]
    assert [name in {entry.image for entry in entries} for entries in stage1] == [True, False]


def test_masks_made_before_crowds_were_noted_are_not_painted_again(coco: Coco) -> None:
    made = coco.load_index(0)
    folder = coco.root / "cache/coco"
    (folder / "crowds.json").unlink()
    coco.index.unlink()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    assert coco.load_index(0) == made
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")} == before


def test_small_objects_do_not_count(coco: Coco) -> None:
    fold = coco.fold(3)
    index = coco.load_index(3)
    pool = training_pool(index.train, fold, rule=coco.draw_rule)
    assert pool.images_of[PERSON] == (0, 1)
    assert pool.images_of[BICYCLE] == ()
    assert training_pool(index.train, fold, rule=DrawRule(min_pixels=800)).images_of[BICYCLE] == (3,)
    assert evaluation_pool(index.val, fold, rule=coco.draw_rule).images_of[STOP_SIGN] == (0,)


def test_folds_follow_the_convention(coco: Coco) -> None:
    assert coco.fold_count == 4
    contiguous = replace(coco, folds="contiguous")
    for number in range(4):
        assert coco.fold(number) == coco_fold(number, "interleaved")
        assert contiguous.fold(number) == coco_fold(number, "contiguous")
    assert contiguous.load_index(2) == coco.load_index(2)
    with pytest.raises(ValueError, match=r"between 0 and 3\. Found fold 4\. Count from 0"):
        coco.load_index(4)


def test_an_image_and_its_labels_are_read(coco: Coco) -> None:
    entry = coco.load_index(0).train.entries[2]
    found = coco.read(entry)
    assert torch.equal(found.image, read_image(coco.root / entry.image))
    assert found.labels.unique().tolist() == [UNKNOWN, 0, CAR]
    assert (found.labels[:10] == UNKNOWN).all(), "a crowd"


def test_objects_are_read_one_by_one(coco: Coco) -> None:
    index = coco.load_index(0)
    people = coco.read_instances(index.val.entries[1], PERSON)
    assert people is not None
    assert people.sum((1, 2)).tolist() == [30 * 60, 30 * 60]
    assert torch.equal(people.any(0), coco.read(index.val.entries[1]).labels == PERSON)
    assert coco.read_instances(index.train.entries[2], PERSON) is None, "a crowd is no object"


def test_masks_are_kept_where_one_says(coco: Coco, tmp_path: Path) -> None:
    elsewhere = replace(coco, masks=tmp_path / "masks")
    index = elsewhere.load_index(0)
    assert (tmp_path / "masks/source.json").exists()
    assert not (coco.root / "cache/coco").exists()
    assert elsewhere.read(index.val.entries[0]).labels.unique().tolist() == [0, STOP_SIGN]


def test_a_second_run_reads_no_mask(coco: Coco) -> None:
    made = coco.load_index(0)
    for path in (coco.root / "cache/coco/labels").rglob("*.png"):
        path.unlink()
    assert coco.load_index(0) == made
    with pytest.raises(FileNotFoundError, match="Found 6 of 12 files missing"):
        coco.rebuild_index()
    assert coco.load_index(0) == made


def test_an_index_of_other_masks_is_refused_until_it_is_rebuilt(coco: Coco, tmp_path: Path) -> None:
    assert PERSON in coco.load_index(0).train.entries[0].pixels
    legacy = replace(coco, masks=tmp_path / "legacy", legacy_masks=True)
    with pytest.raises(StaleIndexError, match=r"Found other content in train\.txt .*\. Make the index again"):
        legacy.load_index(0)
    legacy.rebuild_index()
    assert legacy.load_index(0).train.entries[0].pixels == {PERSON: 40 * 55}, "the first part only"
    assert legacy.load_index(0).train.entries[2].crowds == (), "as where crowds are not known"


def test_masks_of_other_annotations_are_refused(coco: Coco) -> None:
    coco.load_index(0)
    write_annotations(coco.root, "val2014", {"000000000042": [(CAR, [box(0, 0, 70, 60)], False)]})
    with pytest.raises(ForeignMasksError, match=r"is asked for\. Delete the folder, or name another one"):
        coco.load_index(0)


def test_masks_that_somebody_has_made_are_read_by_lists(coco: Coco, listed: Coco) -> None:
    made, index = coco.load_index(0), listed.load_index(0)
    assert [entry.pixels for entry in index.train.entries] == [entry.pixels for entry in made.train.entries]
    assert index.train.lists == ("train2014.txt",)
    found = listed.read(index.train.entries[1])
    assert found.labels.unique().tolist() == [0, PERSON, TIE]
    assert listed.read_instances(index.val.entries[1], PERSON) is None


def test_photographs_are_needed_unless_said_otherwise(coco: Coco) -> None:
    for path in coco.root.rglob("*.jpg"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"Found 6 of 12 files missing, the first of them .*009\.jpg"):
        coco.load_index(0)
    assert len(replace(coco, photographs=False).load_index(0).train.entries) == 4


@pytest.mark.parametrize(
    "options",
    [
        {"train": (Path("a.txt"),)},
        {"val": (Path("a.txt"),)},
        {"train": (Path("a.txt"),), "val": (Path("b.txt"),), "legacy_masks": True},
        {"train": (Path("a.txt"),), "val": (Path("b.txt"),), "masks": Path("masks")},
    ],
)
def test_lists_and_annotations_are_not_mixed(coco: Coco, options: dict) -> None:
    with pytest.raises(ValueError, match=r"Found \d lists to train on, \d to test on, .*\. Leave out one of the two"):
        replace(coco, **options)


def test_no_process_is_refused(coco: Coco) -> None:
    with pytest.raises(ValueError, match=r"at least 1\. Found `processes = 0`\. Pass 1"):
        replace(coco, processes=0)
