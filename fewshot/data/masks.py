"""The kinds of masks that data sets store, each read into the label of every pixel."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Int16
from torch import Tensor

from fewshot.data.labels import LabelledImage, labels_from_bytes
from fewshot.data.reading import read_grey, read_image, read_labels
from fewshot.episode import IGNORED


class WrongLabelError(ValueError):
    """A mask holds labels that its data set does not have, or does not belong to its photograph."""


@dataclass(frozen=True)
class LabelMask:
    """A mask that stores the label of every pixel, 255 where it is unknown.

    Attributes:
        path: Its file.
        class_count: Labels 1 to `class_count` are classes; beside them only 0 and 255 may occur.
    """

    path: Path
    class_count: int

    def read(self) -> Int16[Tensor, "height width"]:
        """Read the labels.

        Raises:
            UnreadableImageError: The file is missing, damaged or no such mask.
            WrongLabelError: It holds other labels.
        """
        labels = labels_from_bytes(read_labels(self.path))
        if labels.max() > self.class_count:
            unknown = labels[labels > self.class_count].unique().tolist()
            raise WrongLabelError(
                f"A mask must hold labels 0 to {self.class_count} and {IGNORED} only. Found {unknown[:5]} in "
                f"{self.path}. Use the masks that hold classes, such as SegmentationClassAug, not those of colours or "
                f"objects."
            )
        return labels


@dataclass(frozen=True)
class ObjectMask:
    """A mask of a single class: every pixel that stores another number than 0 belongs to it.

    Attributes:
        path: Its file.
        class_id: Label of the class.
    """

    path: Path
    class_id: int

    def read(self) -> Int16[Tensor, "height width"]:
        """Read the labels.

        Raises:
            UnreadableImageError: The file is missing, damaged or no such mask.
        """
        return (read_labels(self.path) != 0).short() * self.class_id


@dataclass(frozen=True)
class GreyMask:
    """A picture of a single class: every pixel that is at least as bright as middle grey belongs to it.

    Attributes:
        path: Its file.
        class_id: Label of the class.
    """

    path: Path
    class_id: int

    def read(self) -> Int16[Tensor, "height width"]:
        """Read the labels.

        Raises:
            UnreadableImageError: The file is missing, damaged or no such picture.
        """
        return (read_grey(self.path) >= 128).short() * self.class_id


MaskFile = LabelMask | ObjectMask | GreyMask


def read_labelled(photograph: Path, mask: MaskFile) -> LabelledImage:
    """Read a photograph and its labels.

    Raises:
        UnreadableImageError: A file is missing, damaged or of the wrong kind.
        WrongLabelError: The mask holds other labels than its data set has, or is not of the photograph's size.
    """
    image, labels = read_image(photograph), mask.read()
    check_sizes(photograph, (image.shape[1], image.shape[2]), mask.path, (labels.shape[0], labels.shape[1]))
    return LabelledImage(image, labels)


def check_sizes(image: Path, size: tuple[int, int], mask: Path, mask_size: tuple[int, int]) -> None:
    """Make sure that an image and its mask are of one size (height, width).

    Raises:
        WrongLabelError: They are not.
    """
    if size != mask_size:
        raise WrongLabelError(
            f"An image and its mask must be of one size. Found {size} in {image} and {mask_size} in {mask} "
            f"(height, width). Fetch both from the same release."
        )


def read_objects(path: Path, mask: MaskFile, class_id: int) -> Bool[Tensor, "instances height width"] | None:
    """Cut the mask of a class into its single objects.

    Args:
        path: A mask that says which object each pixel belongs to, whatever its class: 0 is background, 255 unknown.
        mask: The labels.
        class_id: The class.

    Returns:
        Where each object of the class is, without pixels that the labels give to other classes; None where the class
        has pixels, but `path` knows no object there.

    Raises:
        UnreadableImageError: A file is missing, damaged or of the wrong kind.
        WrongLabelError: The mask holds other labels than its data set has, or the files are not of one size.
    """
    objects, labels = read_labels(path), mask.read()
    check_sizes(path, (objects.shape[0], objects.shape[1]), mask.path, (labels.shape[0], labels.shape[1]))
    shown = labels == class_id
    numbers = [number for number in objects[shown].unique().tolist() if number not in (0, IGNORED)]
    return torch.stack([(objects == number) & shown for number in numbers]) if numbers else None
