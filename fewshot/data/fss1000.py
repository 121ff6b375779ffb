"""FSS-1000: a thousand classes of ten pictures each, one object in the middle of every picture."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from fewshot.data.building import IndexRecipe, build_index, keep_index
from fewshot.data.dataset import DataSet
from fewshot.data.folds import Fold, check_fold
from fewshot.data.index import Index, IndexEntry, save_index
from fewshot.data.labels import LabelledImage
from fewshot.data.lists import ImageList, ListedImage, UnusableListError, read_names
from fewshot.data.masks import GreyMask, read_labelled
from fewshot.data.pools import DrawRule
from fewshot.data.scanning import MaskScan, check_processes

PICTURES = 10
"""Pictures of a class, named from 1."""


@dataclass(frozen=True)
class FSS1000(DataSet):
    """FSS-1000, in the single fold of its classes to test on.

    Names of classes are taken as they stand in the lists, misspellings and apostrophes included, since folders are
    named so. The labels of classes are their places in `train`, then in `test`, from 1: more than bytes can hold.

    Attributes:
        root: The folder that holds a folder for each class, with `1.jpg`, `1.png` to `10.jpg`, `10.png`.
        train: List file of the classes to train on, a name a line.
        test: List file of the classes to test on; to choose among checkpoints, name the list of a validation here.
        index: File that keeps the index; made if it is missing.
        processes: How many processes read masks when the index is made; each takes seconds to start.
    """

    root: Path
    train: Path
    test: Path
    index: Path
    processes: int = 1

    def __post_init__(self) -> None:
        """Refuse a number of processes that reads nothing."""
        check_processes(self.processes)

    @property
    def fold_count(self) -> int:
        """There is one."""
        return 1

    def fold(self, number: int) -> Fold:
        """Give the fold, number 0: the classes of `test` are held out.

        Raises:
            ValueError: Another one was asked for, or a list cannot be used.
        """
        check_fold(number, self.fold_count)
        held_in, held_out = (tuple(self._label_of[name] for name in names) for names in self._names)
        return Fold(0, held_in, held_out)

    def load_index(self, fold: int) -> Index:
        """Read or make the index: every picture of the classes to train on, and of those to test on."""
        check_fold(fold, self.fold_count)
        return keep_index(self.index, self._recipe(), processes=self.processes)

    def rebuild_index(self) -> None:
        """Read every mask again and replace the index."""
        save_index(build_index(self._recipe(), processes=self.processes), self.index)

    def read(self, entry: IndexEntry) -> LabelledImage:
        """Read a picture and its labels."""
        return read_labelled(self.root / entry.image, self._mask(entry.mask))

    @property
    def draw_rule(self) -> DrawRule:
        """A picture counts for its class however small the object is."""
        return DrawRule(min_pixels=1)

    @cached_property
    def _names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        train, test = read_names(self.train), read_names(self.test)
        shared = sorted(set(train) & set(test))
        if shared:
            raise UnusableListError(
                f"No class may be both to train and to test on. Found {len(shared)} such, among them {shared[0]!r}, in "
                f"{self.train} and {self.test}. Leave them out of one of the lists."
            )
        return train, test

    @cached_property
    def _label_of(self) -> dict[str, int]:
        train, test = self._names
        return {name: label for label, name in enumerate((*train, *test), start=1)}

    def _mask(self, name: str) -> GreyMask:
        return GreyMask(self.root / name, self._label_of[PurePosixPath(name).parts[0]])

    def _scan(self, listed: ListedImage) -> MaskScan:
        return MaskScan(self._mask(listed.mask), self.root / listed.image)

    def _recipe(self) -> IndexRecipe:
        train, test = self._names
        return IndexRecipe(
            tuple(self._label_of),
            _list_pictures(train, self.train.name),
            _list_pictures(test, self.test.name),
            self._scan,
        )


def _list_pictures(names: tuple[str, ...], listed_in: str) -> ImageList:
    images = tuple(
        ListedImage(f"{name}/{number}.jpg", f"{name}/{number}.png", None)
        for name in names
        for number in range(1, PICTURES + 1)
    )
    return ImageList(images, (listed_in,), hashlib.sha256("\n".join(names).encode()).hexdigest(), 0)
