"""What a few-shot data set is to everything above it: an index, folds of its classes, and a way to read an image."""

from abc import ABC, abstractmethod

from jaxtyping import Bool
from torch import Tensor

from fewshot.data.folds import Fold
from fewshot.data.index import Index, IndexEntry
from fewshot.data.labels import LabelledImage
from fewshot.data.pools import DrawRule


class DataSet(ABC):
    """A few-shot data set.

    Each kind is a frozen dataclass whose fields say where the files are and what conventions hold. They are the options
    of the command line and stand in every result, so they hold paths, numbers and names only.
    """

    @property
    @abstractmethod
    def fold_count(self) -> int:
        """Count the folds."""

    @abstractmethod
    def fold(self, number: int) -> Fold:
        """Give fold `number`, from 0.

        Raises:
            ValueError: There is no such fold.
        """

    @abstractmethod
    def load_index(self) -> Index:
        """Read or make the index: the images to train on (`train`) and to test on (`val`), with the pixels of classes.

        Raises:
            ValueError: Lists, masks or an index that is there cannot be used.
            FileNotFoundError: Files are missing.
        """

    @abstractmethod
    def read(self, entry: IndexEntry) -> LabelledImage:
        """Read an image and its labels, at their own size.

        Raises:
            UnreadableImageError: A file is missing, damaged or of the wrong kind.
        """

    def read_instances(self, entry: IndexEntry, class_id: int) -> Bool[Tensor, "instances height width"] | None:
        """Read the masks of the single objects of a class; None where the data set has none, as by default."""
        return None

    @property
    def draw_rule(self) -> DrawRule:
        """Say when an image counts for a class unless a run says otherwise; by default the filter of the field."""
        return DrawRule()
