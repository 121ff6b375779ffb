"""Which classes a fold keeps for the test: the folds of PASCAL-5i."""

from dataclasses import dataclass

PASCAL_CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
"""Classes of PASCAL VOC; the label of a class in the masks is its place here, from 1."""

PASCAL_FOLDS = 4


@dataclass(frozen=True)
class Fold:
    """A division of the classes of a data set.

    Attributes:
        number: Which one, from 0.
        held_in: Labels of the classes to train on, in rising order.
        held_out: Labels of the classes to test on, none of which training may learn.
    """

    number: int
    held_in: tuple[int, ...]
    held_out: tuple[int, ...]


def pascal_fold(number: int) -> Fold:
    """Give fold `number` of PASCAL-5i: classes 5 `number` + 1 to 5 `number` + 5 are held out.

    Raises:
        ValueError: There is no such fold.

    Example:
        >>> pascal_fold(1).held_out
        (6, 7, 8, 9, 10)

    References:
        Shaban et al. (2017), One-Shot Learning for Semantic Segmentation, table 1.
    """
    return consecutive_fold(number, len(PASCAL_CLASSES), PASCAL_FOLDS)


def consecutive_fold(number: int, class_count: int, folds: int) -> Fold:
    """Give fold `number` of classes that are divided into groups of neighbours, as equal as can be.

    Args:
        number: Which fold, from 0; it holds out group `number`.
        class_count: How many classes there are.
        folds: How many groups, at least 1.

    Raises:
        ValueError: There is no such fold, or there are fewer classes than folds.
    """
    check_fold(number, folds)
    if class_count < folds:
        raise ValueError(
            f"There must be at least as many classes as folds. Found {class_count} classes and {folds} folds. Ask for "
            f"fewer folds."
        )
    held_out = range(class_count * number // folds + 1, class_count * (number + 1) // folds + 1)
    return _hold_out(number, tuple(held_out), class_count)


def check_fold(number: int, folds: int) -> None:
    """Make sure that a data set has a fold.

    Raises:
        ValueError: It has not.
    """
    if not 0 <= number < folds:
        raise ValueError(f"A fold must be between 0 and {folds - 1}. Found fold {number}. Count from 0.")


def _hold_out(number: int, held_out: tuple[int, ...], class_count: int) -> Fold:
    held_in = tuple(label for label in range(1, class_count + 1) if label not in held_out)
    return Fold(number, held_in, held_out)
