import pytest

from fewshot.data.folds import (
    COCO_CLASSES,
    COCO_FOLDS,
    PASCAL_CLASSES,
    PASCAL_FOLDS,
    CocoFolds,
    canonical_name,
    check_coco_folds,
    coco_fold,
    consecutive_fold,
    pascal_fold,
)


def test_every_class_is_held_out_by_one_fold() -> None:
    held_out = [label for number in range(PASCAL_FOLDS) for label in pascal_fold(number).held_out]
    assert held_out == list(range(1, len(PASCAL_CLASSES) + 1))


@pytest.mark.parametrize("number", range(PASCAL_FOLDS))
def test_a_class_is_held_in_or_out_and_never_both(number: int) -> None:
    fold = pascal_fold(number)
    assert fold.number == number
    assert (len(fold.held_in), len(fold.held_out)) == (15, 5)
    assert sorted(fold.held_in + fold.held_out) == list(range(1, 21))


def test_labels_follow_the_order_of_pascal_voc() -> None:
    names = [PASCAL_CLASSES[label - 1] for label in pascal_fold(1).held_out]
    assert names == ["bus", "car", "cat", "chair", "cow"], "RePRI's table swaps car and cat"


@pytest.mark.parametrize("number", [-1, 4])
def test_a_fold_that_is_not_there_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=rf"between 0 and 3\. Found fold {number}\. Count from 0"):
        pascal_fold(number)


@pytest.mark.parametrize("convention", ["interleaved", "contiguous"])
def test_every_class_of_coco_is_held_out_by_one_fold(convention: CocoFolds) -> None:
    folds = [coco_fold(number, convention) for number in range(COCO_FOLDS)]
    assert sorted(label for fold in folds for label in fold.held_out) == list(range(1, len(COCO_CLASSES) + 1))
    for number, fold in enumerate(folds):
        assert fold.number == number
        assert (len(fold.held_in), len(fold.held_out)) == (60, 20)
        assert sorted(fold.held_in + fold.held_out) == list(range(1, 81))


def test_both_conventions_of_coco_hold_out_what_their_papers_say() -> None:
    interleaved = [COCO_CLASSES[label - 1] for label in coco_fold(0).held_out]
    assert interleaved[:5] == ["person", "airplane", "boat", "parking meter", "dog"]
    assert coco_fold(3).held_out == tuple(range(4, 81, 4))
    contiguous = [COCO_CLASSES[label - 1] for label in coco_fold(0, "contiguous").held_out]
    assert (contiguous[0], contiguous[-1]) == ("person", "cow")
    assert coco_fold(3, "contiguous").held_out == tuple(range(61, 81))


@pytest.mark.parametrize("convention", ["interleaved", "contiguous"])
def test_a_fold_that_coco_has_not_is_refused(convention: CocoFolds) -> None:
    with pytest.raises(ValueError, match=r"between 0 and 3\. Found fold 4\. Count from 0"):
        coco_fold(4, convention)


def test_an_unknown_convention_of_folds_is_refused() -> None:
    with pytest.raises(ValueError, match=r"interleaved, contiguous\. Found `folds = 'every fourth'`\. Correct its"):
        check_coco_folds("every fourth")


@pytest.mark.parametrize(
    ("classes", "folds", "expected"),
    [
        (6, 3, [(1, 2), (3, 4), (5, 6)]),
        (7, 3, [(1, 2), (3, 4), (5, 6, 7)]),
        (8, 3, [(1, 2), (3, 4, 5), (6, 7, 8)]),
        (3, 3, [(1,), (2,), (3,)]),
        (2, 1, [(1, 2)]),
    ],
)
def test_neighbours_are_held_out_together_in_groups_as_equal_as_can_be(
    classes: int, folds: int, expected: list[tuple[int, ...]]
) -> None:
    found = [consecutive_fold(number, classes, folds) for number in range(folds)]
    assert [fold.held_out for fold in found] == expected
    assert all(sorted(fold.held_in + fold.held_out) == list(range(1, classes + 1)) for fold in found)


def test_more_folds_than_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Found 3 classes and 4 folds\. Ask for fewer folds"):
        consecutive_fold(0, 3, 4)


def test_classes_of_coco_are_known_by_their_names_in_pascal() -> None:
    assert [canonical_name(name) for name in ("tv", "dining table", "person", "zebra")] == [
        "tvmonitor",
        "diningtable",
        "person",
        "zebra",
    ]
    assert {canonical_name(name) for name in COCO_CLASSES} >= set(PASCAL_CLASSES)
