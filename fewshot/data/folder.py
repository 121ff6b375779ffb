"""A folder of your own photographs and masks, whose classes are held out by name or in turn."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fewshot.data.building import IndexRecipe, build_index, keep_index
from fewshot.data.dataset import DataSet
from fewshot.data.folds import Fold, check_fold, consecutive_fold
from fewshot.data.index import Index, IndexEntry, Split, save_index
from fewshot.data.labels import LabelledImage
from fewshot.data.layout import FolderLayout, read_layout
from fewshot.data.lists import ImageList, ListedImage
from fewshot.data.masks import read_labelled
from fewshot.data.pools import DrawRule
from fewshot.data.scanning import MaskScan, check_processes


@dataclass(frozen=True)
class Folder(DataSet):
    """A plain folder, laid out as `fewshot.data.layout` describes.

    All its images are one pool. The images that count for a held-out class of a fold are for its test, the others to
    train on: no image is both. What an image for training still shows of a held-out class (fewer than `min_pixels`
    pixels) the convention of the run deals with.

    Attributes:
        root: The folder.
        index: File that keeps the index; made if it is missing.
        held_out: Names of the classes to test on, for a single fold. Empty where `folds` divides the classes.
        folds: Into how many groups of neighbouring classes they are divided, each of which one fold holds out; 1 where
            `held_out` names them. The folds of PASCAL-5i are these with 4.
        min_pixels: Pixels of a class from which on an image counts for it, at least 1.
        processes: How many processes read masks when the index is made; each takes seconds to start.
    """

    root: Path
    index: Path
    held_out: tuple[str, ...] = ()
    folds: int = 1
    min_pixels: int = 1
    processes: int = 1

    def __post_init__(self) -> None:
        """Refuse options that leave open, or say twice, what is held out."""
        check_processes(self.processes)
        DrawRule(min_pixels=self.min_pixels)
        if self.folds < 1 or (self.folds == 1) != bool(self.held_out):
            raise ValueError(
                f"Either `held_out` must name classes, or `folds` must be at least 2. Found `held_out = "
                f"{list(self.held_out)}` and `folds = {self.folds}`. Pass one of the two."
            )

    @property
    def fold_count(self) -> int:
        """There are as many as `folds` says."""
        return self.folds

    def fold(self, number: int) -> Fold:
        """Give fold `number`.

        Raises:
            ValueError: There is no such fold, the folder has fewer classes than folds or none of a name that is held
                out, or nothing is left to train on.
        """
        classes = self._layout.classes
        if not self.held_out:
            return consecutive_fold(number, len(classes), self.folds)
        check_fold(number, self.folds)
        unknown = sorted(set(self.held_out) - set(classes))
        if unknown or len(set(self.held_out)) == len(classes):
            raise ValueError(
                f"`held_out` must name some classes of the folder, but not all. Found {unknown or list(self.held_out)} "
                f"where {self.root} has {', '.join(classes)}. Correct the names."
            )
        held_out = tuple(label for label, name in enumerate(classes, start=1) if name in self.held_out)
        return Fold(0, tuple(label for label in range(1, len(classes) + 1) if label not in held_out), held_out)

    def load_index(self, fold: int) -> Index:
        """Read or make the index of the whole folder, and divide it: what counts for a held-out class is for the test.

        Raises:
            ValueError: There is no such fold, or the folder, a mask or the index that is there cannot be used.
            FileNotFoundError: Masks are missing.
        """
        held_out = self.fold(fold).held_out
        whole = keep_index(self.index, self._recipe(), processes=self.processes)
        train, val = [], []
        for entry in whole.train.entries:
            tested = any(self.draw_rule.passes(entry, class_id) for class_id in held_out)
            (val if tested else train).append(entry)
        lists, digest = whole.train.lists, whole.train.digest
        return Index(whole.classes, Split(lists, digest, 0, tuple(train)), Split(lists, digest, 0, tuple(val)))

    def rebuild_index(self) -> None:
        """Read every mask again and replace the index."""
        save_index(build_index(self._recipe(), processes=self.processes), self.index)

    def read(self, entry: IndexEntry) -> LabelledImage:
        """Read a photograph and its labels."""
        return read_labelled(self.root / entry.image, self._layout.mask(entry.mask))

    @property
    def draw_rule(self) -> DrawRule:
        """An image counts for a class from `min_pixels` on."""
        return DrawRule(min_pixels=self.min_pixels)

    @cached_property
    def _layout(self) -> FolderLayout:
        return read_layout(self.root)

    def _scan(self, listed: ListedImage) -> MaskScan:
        return MaskScan(self._layout.mask(listed.mask), self.root / listed.image)

    def _recipe(self) -> IndexRecipe:
        layout = self._layout
        listing = ImageList(layout.list_images(), (self.root.name,), layout.digest(), 0)
        return IndexRecipe(layout.classes, listing, ImageList((), (), "", 0), self._scan)
