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
    if not 0 <= number < PASCAL_FOLDS:
        raise ValueError(
            f"A fold of PASCAL-5i must be between 0 and {PASCAL_FOLDS - 1}. Found fold {number}. Count from 0."
        )
    size = len(PASCAL_CLASSES) // PASCAL_FOLDS
    held_out = range(size * number + 1, size * (number + 1) + 1)
    held_in = (label for label in range(1, len(PASCAL_CLASSES) + 1) if label not in held_out)
    return Fold(number, tuple(held_in), tuple(held_out))
