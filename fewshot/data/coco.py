"""COCO-20i: the photographs of COCO 2014, in four folds of twenty classes."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from jaxtyping import Bool
from torch import Tensor

from fewshot.data.building import IndexRecipe, build_index, keep_index
from fewshot.data.dataset import DataSet
from fewshot.data.folds import COCO_CLASSES, COCO_FOLDS, CocoFolds, Fold, check_coco_folds, coco_fold
from fewshot.data.index import Index, IndexEntry, save_index
from fewshot.data.labels import LabelledImage
from fewshot.data.lists import ImageList, ListedImage, read_lists
from fewshot.data.masks import LabelMask, read_labelled, read_objects
from fewshot.data.painting import LABELS, LISTS, OBJECTS, keep_masks, read_crowds
from fewshot.data.scanning import MaskScan, check_processes


@dataclass(frozen=True)
class Coco(DataSet):
    """COCO-20i, from COCO's own annotations or from masks that somebody has made from them.

    Attributes:
        root: The data folder, with `train2014` and `val2014` and, unless lists are given, `annotations`.
        index: File that keeps the index; made if it is missing.
        masks: Folder that keeps the masks made from annotations; made if it is missing. None: beside the index, under
            its name without suffix. Not with lists.
        train: List files of the images to train on, with lines `image mask` relative to `root`, as PFENet has them; the
            masks hold classes 1 to 80, in the order of COCO's numbers. Empty to make the masks from annotations.
        val: List files of the images to test on, likewise.
        folds: Which classes a fold holds out: every fourth, or twenty neighbours.
        legacy_masks: Paint of each object the first polygon only, and no crowds, as the masks of several repositories
            do; to compare with. Not with lists. Nobody knows of the crowds then, so that images with a crowd of a
            held-out class stay in training under `exclude`, as they do with masks from lists.
        photographs: Whether the photographs are checked when the index is made; masks alone are enough to count.
        processes: How many processes paint and read masks when the index is made; each takes seconds to start.
    """

    root: Path
    index: Path
    masks: Path | None = None
    train: tuple[Path, ...] = ()
    val: tuple[Path, ...] = ()
    folds: CocoFolds = "interleaved"
    legacy_masks: bool = False
    photographs: bool = True
    processes: int = 1

    def __post_init__(self) -> None:
        """Refuse options that contradict each other."""
        check_processes(self.processes)
        check_coco_folds(self.folds)
        if bool(self.train) != bool(self.val) or (self.train and (self.masks is not None or self.legacy_masks)):
            raise ValueError(
                f"Masks must come from lists, both `train` and `val`, or from annotations, which alone go with `masks` "
                f"and `legacy_masks`. Found {len(self.train)} lists to train on, {len(self.val)} to test on, `masks = "
                f"{self.masks}` and `legacy_masks = {self.legacy_masks}`. Leave out one of the two."
            )

    @property
    def fold_count(self) -> int:
        """There are four."""
        return COCO_FOLDS

    def fold(self, number: int) -> Fold:
        """Give fold `number` in the convention of `folds`."""
        return coco_fold(number, self.folds)

    def load_index(self, fold: int) -> Index:
        """Read or make the index, the same for every fold, and before it the masks."""
        self.fold(fold)
        return keep_index(self.index, self._recipe(), processes=self.processes)

    def rebuild_index(self) -> None:
        """Read every mask again and replace the index; masks that are there are not painted again."""
        save_index(build_index(self._recipe(), processes=self.processes), self.index)

    def read(self, entry: IndexEntry) -> LabelledImage:
        """Read a photograph and its labels."""
        return read_labelled(self.root / entry.image, self._mask(entry.mask))

    def read_instances(self, entry: IndexEntry, class_id: int) -> Bool[Tensor, "instances height width"] | None:
        """Read the objects of a class, crowds left out; None where masks come from lists or show only a crowd."""
        if self.train:
            return None
        path = self._mask_root / OBJECTS / Path(entry.mask).relative_to(LABELS)
        return read_objects(path, self._mask(entry.mask), class_id)

    @property
    def _mask_root(self) -> Path:
        if self.train:
            return self.root
        return self.index.with_suffix("") if self.masks is None else self.masks

    def _mask(self, name: str) -> LabelMask:
        return LabelMask(self._mask_root / name, len(COCO_CLASSES))

    def _scan(self, listed: ListedImage) -> MaskScan:
        return MaskScan(self._mask(listed.mask), self.root / listed.image if self.photographs else None)

    def _recipe(self) -> IndexRecipe:
        if self.train:
            return IndexRecipe(COCO_CLASSES, read_lists(self.train), read_lists(self.val), self._scan)
        source = keep_masks(
            self.root, self._mask_root, COCO_CLASSES, legacy=self.legacy_masks, processes=self.processes
        )
        train, val = (_bind(read_lists([self._mask_root / name]), source) for name in LISTS)
        return IndexRecipe(COCO_CLASSES, train, val, self._scan, read_crowds(self._mask_root))


def _bind(listing: ImageList, source: str) -> ImageList:
    # The lists name the same images however their masks were made; the index must know that too.
    return replace(listing, digest=hashlib.sha256(f"{listing.digest} {source}".encode()).hexdigest())
