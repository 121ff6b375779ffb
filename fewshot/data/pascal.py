"""PASCAL-5i: the photographs of PASCAL VOC 2012 with the masks of VOC and SBD, in four folds of five classes."""

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Bool
from torch import Tensor

from fewshot.data.building import IndexRecipe, build_index, keep_index
from fewshot.data.dataset import DataSet
from fewshot.data.folds import PASCAL_CLASSES, PASCAL_FOLDS, Fold, pascal_fold
from fewshot.data.index import Index, IndexEntry, save_index
from fewshot.data.labels import LabelledImage
from fewshot.data.lists import ListedImage, read_lists
from fewshot.data.masks import LabelMask, read_labelled, read_objects
from fewshot.data.scanning import MaskScan, check_processes

OBJECTS = "SegmentationObject"
"""Folder of VOC's masks of single objects; SBD's images have none there."""


@dataclass(frozen=True)
class Pascal(DataSet):
    """PASCAL-5i, by the lists of PFENet (lines of image and mask) or those of HSNet (lines of image and class).

    Attributes:
        root: The data folder, which the paths in the lists start from.
        train: List files of the images to train on.
        val: List files of the images to test on.
        index: File that keeps the index; made if it is missing.
        photographs: Whether the photographs are checked when the index is made; masks alone are enough to count.
        processes: How many processes read masks when the index is made; each takes seconds to start.
    """

    root: Path
    train: tuple[Path, ...]
    val: tuple[Path, ...]
    index: Path
    photographs: bool = True
    processes: int = 1

    def __post_init__(self) -> None:
        """Refuse a number of processes that reads nothing."""
        check_processes(self.processes)

    @property
    def fold_count(self) -> int:
        """There are four."""
        return PASCAL_FOLDS

    def fold(self, number: int) -> Fold:
        """Give fold `number`: classes 5 `number` + 1 to 5 `number` + 5 are held out."""
        return pascal_fold(number)

    def load_index(self, fold: int) -> Index:
        """Read or make the index, the same for every fold: its lists have images of their own for the test."""
        self.fold(fold)
        return keep_index(self.index, self._recipe(), processes=self.processes)

    def rebuild_index(self) -> None:
        """Read every mask again and replace the index."""
        save_index(build_index(self._recipe(), processes=self.processes), self.index)

    def read(self, entry: IndexEntry) -> LabelledImage:
        """Read a photograph and its labels."""
        return read_labelled(self.root / entry.image, self._mask(entry.mask))

    def read_instances(self, entry: IndexEntry, class_id: int) -> Bool[Tensor, "instances height width"] | None:
        """Read the objects of a class from VOC's `SegmentationObject`; None for images that are not in there."""
        path = self.root / OBJECTS / Path(entry.mask).name
        return read_objects(path, self._mask(entry.mask), class_id) if path.is_file() else None

    def _mask(self, name: str) -> LabelMask:
        return LabelMask(self.root / name, len(PASCAL_CLASSES))

    def _scan(self, listed: ListedImage) -> MaskScan:
        return MaskScan(self._mask(listed.mask), self.root / listed.image if self.photographs else None)

    def _recipe(self) -> IndexRecipe:
        return IndexRecipe(PASCAL_CLASSES, read_lists(self.train), read_lists(self.val), self._scan)
