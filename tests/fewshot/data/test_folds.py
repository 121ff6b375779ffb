import pytest

from fewshot.data.folds import PASCAL_CLASSES, PASCAL_FOLDS, pascal_fold


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
