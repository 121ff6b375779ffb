"""What the supervised stage learns from: whole images with the labels of the held-in classes."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Int16
from torch import Tensor

from fewshot.data.augmentation import Augmentation, augment, make_generator
from fewshot.data.dataset import DataSet
from fewshot.data.folds import Fold
from fewshot.data.index import Index, IndexEntry
from fewshot.data.labels import UNKNOWN
from fewshot.data.pools import Convention, check_convention, relabel_held_out
from fewshot.data.storage import hash_tensors
from fewshot.data.transforms import normalise_padded

_PROBES = 4
"""Images whose pixels are part of a description: the same names may stand for the same photographs at another size."""


@dataclass(frozen=True)
class LabelledBatch:
    """Images and the class of every pixel.

    Attributes:
        images: RGB, normalised; padding is 0.
        labels: 0 is background, n the n-th held-in class, `UNKNOWN` whatever takes no part.
    """

    images: Float[Tensor, "batch 3 height width"]
    labels: Int[Tensor, "batch height width"]

    def to(self, device: torch.device | str) -> "LabelledBatch":
        """Copy both to `device`."""
        return LabelledBatch(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Supervision:
    """The images of a fold that a backbone may learn from.

    Attributes:
        dataset: Where they are.
        index: What they show.
        fold: Which classes are held in and out.
        convention: What becomes of images with held-out objects.
    """

    dataset: DataSet
    index: Index
    fold: Fold
    convention: Convention = "exclude"

    def __post_init__(self) -> None:
        """Refuse conventions that do not exist, and folds without an image.

        Raises:
            ValueError: There is no such convention, or no image to learn from.
        """
        check_convention(self.convention)
        if not self.entries:
            raise ValueError(
                f"There must be an image of a held-in class to learn from. Found none among "
                f"{len(self.index.train.entries)} of fold {self.fold.number} under the convention {self.convention!r}. "
                f"Add images, or choose another convention."
            )

    @cached_property
    def entries(self) -> tuple[IndexEntry, ...]:
        """List the images of the training part that show a held-in class, by however few pixels.

        Under `exclude` none of them has a single pixel, or a crowd, of a held-out class.
        """
        held_in = set(self.fold.held_in)
        return tuple(
            entry
            for entry in self.index.train.entries
            if not held_in.isdisjoint(entry.pixels)
            and (self.convention != "exclude" or not entry.shows(self.fold.held_out))
        )

    @property
    def class_count(self) -> int:
        """Count the classes, background included."""
        return len(self.fold.held_in) + 1

    def place_labels(self, labels: Int16[Tensor, "height width"]) -> Int[Tensor, "height width"]:
        """Turn labels of the data set into places among the held-in classes; all other classes become `UNKNOWN`."""
        highest = max(len(self.index.classes), int(labels.max()))
        place_of = torch.full((highest + 1,), UNKNOWN)
        place_of[0] = 0
        place_of[torch.tensor(self.fold.held_in)] = torch.arange(1, self.class_count)
        return torch.where(labels == UNKNOWN, UNKNOWN, place_of[labels.clamp(min=0).long()])

    def describe(self) -> dict[str, Any]:
        """Say which data set, classes and images these are, as JSON gives it back."""
        names = self.index.classes
        return {
            "data": type(self.dataset).__name__,
            "lists": self.index.train.digest,
            "fold": self.fold.number,
            "held_in": [names[class_id - 1] for class_id in self.fold.held_in],
            "held_out": [names[class_id - 1] for class_id in self.fold.held_out],
            "convention": self.convention,
        }


class SupervisedBatches:
    """Augmented images in rounds, each in an order of its own: item i depends on the seed and i only."""

    def __init__(self, supervision: Supervision, augmentation: Augmentation, *, seed: int) -> None:
        """Read nothing yet."""
        self.supervision = supervision
        self.augmentation = augmentation
        self.seed = seed
        self._round: tuple[int, np.ndarray] | None = None

    def __getitem__(self, numbers: Sequence[int]) -> LabelledBatch:
        """Read, augment and put together the items of these numbers."""
        images, labels = zip(*(self._make(number) for number in numbers), strict=True)
        return LabelledBatch(torch.stack(images), torch.stack(labels))

    def describe(self) -> dict[str, Any]:
        """Name images, by what they show and the pixels of some of them, and augmentation."""
        supervision, entries = self.supervision, self.supervision.entries
        shown = json.dumps([(entry.image, entry.mask, sorted(entry.pixels.items())) for entry in entries])
        probes = {
            entry.image: supervision.dataset.read(entry).image for entry in entries[:: -(-len(entries) // _PROBES)]
        }
        return {
            **supervision.describe(),
            "images": len(entries),
            "shown": hashlib.sha256(shown.encode()).hexdigest(),
            "probes": hash_tensors(probes),
            "augmentation": asdict(self.augmentation),
        }

    def _make(self, number: int) -> tuple[Tensor, Tensor]:
        supervision = self.supervision
        picture = supervision.dataset.read(supervision.entries[self._choose(number)])
        labels = relabel_held_out(picture.labels, supervision.fold, supervision.convention)
        generator = make_generator(self.seed, number)
        seen = augment(picture.image, labels, self.augmentation, generator, unknown=UNKNOWN)
        return normalise_padded(seen.pixels, seen.valid), supervision.place_labels(seen.labels)

    def _choose(self, number: int) -> int:
        turn, place = divmod(number, len(self.supervision.entries))
        if self._round is None or self._round[0] != turn:
            order = np.random.default_rng((self.seed, turn)).permutation(len(self.supervision.entries))
            self._round = (turn, order)
        return int(self._round[1][place])
