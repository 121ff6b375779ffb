"""A data set of a few flat pictures, whose every pixel is known."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool
from torch import Tensor

from fewshot.data.dataset import DataSet
from fewshot.data.folds import Fold
from fewshot.data.index import Index, IndexEntry, Split
from fewshot.data.labels import UNKNOWN, LabelledImage
from fewshot.data.pools import DrawRule

HEIGHT, WIDTH = 40, 64
BASE, NOVEL = 1, 2
RULE = DrawRule(min_pixels=1)


@dataclass(frozen=True)
class Tiles(DataSet):
    """Six pictures of 40 x 64 and one of 20 x 20: class 1 in the upper left, class 2 below, between them unknown.

    Attributes:
        with_instances: Whether there are instance masks: the left and the right half of each object.
    """

    with_instances: bool = False

    @property
    def fold_count(self) -> int:
        return 1

    def fold(self, number: int) -> Fold:
        return Fold(number, (BASE,), (NOVEL,))

    def load_index(self, fold: int) -> Index:
        entries = tuple(IndexEntry(f"{n}.jpg", f"{n}.png", {BASE: 160, NOVEL: 160}) for n in range(7))
        split = Split(("tiles",), "", 0, entries)
        return Index(("base", "novel"), split, split)

    def rebuild_index(self) -> None:
        raise NotImplementedError

    def read(self, entry: IndexEntry) -> LabelledImage:
        number = int(Path(entry.image).stem)
        height, width = (20, 20) if number == 6 else (HEIGHT, WIDTH)
        image = torch.full((3, height, width), 20 + 30 * number, dtype=torch.uint8)
        labels = torch.zeros(height, width, dtype=torch.int16)
        labels[:8, :20] = BASE
        labels[8:10, :20] = UNKNOWN
        labels[10:18, :20] = NOVEL
        return LabelledImage(image, labels)

    def read_instances(self, entry: IndexEntry, class_id: int) -> Bool[Tensor, "instances height width"] | None:
        if not self.with_instances:
            return None
        whole = self.read(entry).labels == class_id
        halves = whole.expand(2, *whole.shape).clone()
        halves[0, :, 10:] = halves[1, :, :10] = False
        halves[1, -1:] = True
        return halves
