"""Which images may be query or support of which class, in training and in the test of a fold."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Int16
from torch import Tensor

from fewshot.data.folds import Fold
from fewshot.data.index import IndexEntry, Split
from fewshot.data.labels import UNKNOWN
from fewshot.options import require_choice

MIN_PIXELS = 2 * 32 * 32
"""Pixels of a class, in the original mask, from which on an image counts for it: two cells at 1/32 resolution.

Shaban et al. (2017), One-Shot Learning for Semantic Segmentation; taken over by PFENet and what builds on it.
"""

Convention = Literal["keep", "exclude", "ignore"]
"""What becomes of training images that show objects of held-out classes.

`keep`: the image stays, those pixels are background (OSLSM, PFENet, HSNet, CANet, CyCTR, QGNet). `exclude`: an image
with a single such pixel, or a crowd of such objects, is left out (BAM, HDMNet, SG-One, PMMs). `ignore`: the image
stays, those pixels are `UNKNOWN` (the first stage of RePRI, early PPNet).
"""


@dataclass(frozen=True)
class DrawRule:
    """When an image counts for a class.

    Attributes:
        min_pixels: Pixels of the class that it must show, at least 1. None: `MIN_PIXELS` where the lists name images, 1
            where they name images and classes, which somebody has filtered already.
        legacy_class_draw: Let a query be about every class of the fold that it shows, were it by one pixel, as PFENet's
            loader and those made from it do; supports still pass the filter. Otherwise queries pass it too.
    """

    min_pixels: int | None = None
    legacy_class_draw: bool = False

    def __post_init__(self) -> None:
        """Refuse a filter that lets absent classes pass."""
        if self.min_pixels is not None and self.min_pixels < 1:
            raise ValueError(
                f"`min_pixels` must be at least 1. Found `min_pixels = {self.min_pixels}`. Pass 1 for no filter."
            )

    def passes(self, entry: IndexEntry, class_id: int) -> bool:
        """Tell whether the image counts for the class: listed under it, if classes are listed, and large enough."""
        if entry.listed is not None and class_id not in entry.listed:
            return False
        default = MIN_PIXELS if entry.listed is None else 1
        return entry.pixels.get(class_id, 0) >= (default if self.min_pixels is None else self.min_pixels)


@dataclass(frozen=True)
class EpisodePool:
    """What episodes are drawn from.

    Attributes:
        entries: The images that pass the filter for at least one class, in the order of the lists.
        images_of: For each class, the numbers in `entries` of the images that count for it: its supports.
        classes_of: For each image, the classes that an episode with this image as query may be about.
        fold: Which classes are held in and out.
        convention: What became of held-out objects, to be noted with every result; None in a test.
        rule: When an image counted for a class, likewise.
    """

    entries: tuple[IndexEntry, ...]
    images_of: dict[int, tuple[int, ...]]
    classes_of: tuple[tuple[int, ...], ...]
    fold: Fold
    convention: Convention | None
    rule: DrawRule

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Every (number of the image, class) that passes the filter, by class."""
        return tuple((number, class_id) for class_id, numbers in self.images_of.items() for number in numbers)

    @property
    def query_pairs(self) -> tuple[tuple[int, int], ...]:
        """Every (number of the image, class) that a query may be, by image."""
        return tuple((number, class_id) for number, found in enumerate(self.classes_of) for class_id in found)

    def count_showing(self, class_ids: tuple[int, ...]) -> int:
        """Count the images that pass the filter for one of these classes too."""
        return sum(any(self.rule.passes(entry, class_id) for class_id in class_ids) for entry in self.entries)


def check_convention(name: str) -> None:
    """Refuse a name that no convention has.

    Raises:
        ValueError: There is no such convention.
    """
    require_choice("convention", name, get_args(Convention))


def training_pool(
    split: Split, fold: Fold, *, convention: Convention = "keep", rule: DrawRule | None = None
) -> EpisodePool:
    """Gather what training on the held-in classes of a fold may draw from.

    The pixels of held-out classes are dealt with by `relabel_held_out`, when a mask is read.

    Args:
        split: The images to train on.
        fold: Which classes are held in and out.
        convention: What becomes of images with held-out objects.
        rule: When an image counts for a class. Default: the filter of the field, applied to queries too.

    Raises:
        ValueError: There is no such convention.
    """
    check_convention(convention)
    entries = [entry for entry in split.entries if convention != "exclude" or not entry.shows(fold.held_out)]
    return _gather(entries, fold.held_in, fold, convention, rule or DrawRule())


def evaluation_pool(
    split: Split, fold: Fold, *, rule: DrawRule | None = None, classes: Literal["held_out", "held_in"] = "held_out"
) -> EpisodePool:
    """Gather what a test may draw from.

    Args:
        split: The images to test on.
        fold: Which classes are held out.
        rule: As for `training_pool`.
        classes: Test on the held-out classes, as results are, or on the held-in ones, to choose among checkpoints
            without a look at what is tested.
    """
    return _gather(split.entries, getattr(fold, classes), fold, None, rule or DrawRule())


def relabel_held_out(
    labels: Int16[Tensor, "height width"], fold: Fold, convention: Convention
) -> Int16[Tensor, "height width"]:
    """Take the held-out classes out of training labels: background under `keep`, `UNKNOWN` under `ignore`.

    Args:
        labels: Class of every pixel, as `LabelledImage` holds them.
        fold: Which classes are held out.
        convention: What becomes of them.

    Raises:
        ValueError: There is no such convention, or a held-out class is in sight although those are excluded.
    """
    check_convention(convention)
    held_out = torch.isin(labels, torch.tensor(fold.held_out, dtype=labels.dtype))
    if convention == "exclude" and held_out.any():
        raise ValueError(
            f"Under the convention `exclude` no training image may show held-out classes. Found "
            f"{labels[held_out].unique().tolist()} of fold {fold.number}. Draw images from `training_pool`, and make "
            f"the index again if the masks have changed."
        )
    return labels.masked_fill(held_out, UNKNOWN if convention == "ignore" else 0)


def _gather(
    candidates: tuple[IndexEntry, ...] | list[IndexEntry],
    class_ids: tuple[int, ...],
    fold: Fold,
    convention: Convention | None,
    rule: DrawRule,
) -> EpisodePool:
    passing = [tuple(class_id for class_id in class_ids if rule.passes(entry, class_id)) for entry in candidates]
    entries = tuple(entry for entry, found in zip(candidates, passing, strict=True) if found)
    passing = [found for found in passing if found]
    images_of = {
        class_id: tuple(number for number, found in enumerate(passing) if class_id in found) for class_id in class_ids
    }
    if rule.legacy_class_draw:
        passing = [tuple(class_id for class_id in class_ids if class_id in entry.pixels) for entry in entries]
    return EpisodePool(entries, images_of, tuple(passing), fold, convention, rule)
