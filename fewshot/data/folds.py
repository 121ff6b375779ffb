"""Which classes a fold keeps for the test: the folds of PASCAL-5i, of COCO-20i, and of classes in a row."""

from dataclasses import dataclass
from typing import Literal, get_args

from fewshot.options import require_choice

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

_COCO_NAMES = {
    "airplane": "aeroplane",
    "motorcycle": "motorbike",
    "couch": "sofa",
    "dining table": "diningtable",
    "potted plant": "pottedplant",
    "tv": "tvmonitor",
}
"""Classes of COCO that PASCAL VOC has under another name."""


def canonical_name(name: str) -> str:
    """Give a class of COCO the name that PASCAL VOC has for it; other names stay as they are.

    Example:
        >>> canonical_name("couch")
        'sofa'
    """
    return _COCO_NAMES.get(name, name)


COCO_CLASSES = (
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "skis",
    "snowboard",
    "sports ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "tv",
    "laptop",
    "mouse",
    "remote",
    "keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
)
"""Classes of COCO in the order of its numbers, which have gaps; the label of a class in the masks is its place here."""

COCO_FOLDS = 4

CocoFolds = Literal["interleaved", "contiguous"]
"""Which classes a fold of COCO-20i holds out.

`interleaved`: every fourth (FWB, PFENet, HSNet, BAM). `contiguous`: twenty neighbours (PANet).
"""


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


def coco_fold(number: int, convention: CocoFolds = "interleaved") -> Fold:
    """Give fold `number` of COCO-20i.

    Args:
        number: Which fold, from 0.
        convention: `interleaved` holds out classes `number` + 1 + 4 v, `contiguous` 20 `number` + 1 to 20 `number` + 20
            inclusive.

    Raises:
        ValueError: There is no such fold or convention.

    Example:
        >>> coco_fold(1).held_out[:3]
        (2, 6, 10)
        >>> coco_fold(1, "contiguous").held_out[:3]
        (21, 22, 23)

    References:
        Nguyen and Todorovic (2019), Feature Weighting and Boosting for Few-Shot Segmentation (interleaved).
        Wang et al. (2019), PANet (contiguous).
    """
    check_coco_folds(convention)
    if convention == "contiguous":
        return consecutive_fold(number, len(COCO_CLASSES), COCO_FOLDS)
    check_fold(number, COCO_FOLDS)
    held_out = range(number + 1, len(COCO_CLASSES) + 1, COCO_FOLDS)
    return _hold_out(number, tuple(held_out), len(COCO_CLASSES))


def check_coco_folds(name: str) -> None:
    """Refuse a name that no convention of COCO-20i has.

    Raises:
        ValueError: There is no such convention.
    """
    require_choice("folds", name, get_args(CocoFolds))


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
    return Fold(number, tuple(label for label in range(1, class_count + 1) if label not in held_out), held_out)
