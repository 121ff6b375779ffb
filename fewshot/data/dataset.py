"""What a few-shot data set is to everything above it: an index, folds of its classes, and a way to read an image."""

from abc import ABC, abstractmethod
from dataclasses import replace

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
    def load_index(self, fold: int) -> Index:
        """Read or make the index: the images to train on (`train`) and to test on (`val`), with the pixels of classes.

        Some data sets have images of their own for the test. Others are one pool, which each fold divides anew, so that
        no image that it tests on is trained on.

        Args:
            fold: Number of the fold.

        Raises:
            ValueError: There is no such fold, or lists, masks or an index that is there cannot be used.
            FileNotFoundError: Files are missing.
        """

    @abstractmethod
    def rebuild_index(self) -> None:
        """Make the index anew by reading every mask, whatever is kept in files; a failure leaves those as they are.

        Raises:
            ValueError: Lists or masks cannot be used.
            FileNotFoundError: Files are missing.
        """

    @abstractmethod
    def read(self, entry: IndexEntry) -> LabelledImage:
        """Read an image and its labels, at their own size.

        Raises:
            UnreadableImageError: A file is missing, damaged or of the wrong kind.
            WrongLabelError: The labels are not those of the image or of the data set.
        """

    def read_instances(self, entry: IndexEntry, class_id: int) -> Bool[Tensor, "instances height width"] | None:
        """Read the masks of the single objects of a class; None where the data set has none, as by default."""
        return None

    @property
    def draw_rule(self) -> DrawRule:
        """Say when an image counts for a class unless a run says otherwise; by default the filter of the field."""
        return DrawRule()

    def complete_rule(self, rule: DrawRule) -> DrawRule:
        """Fill in what a run leaves open: the filter of this data set where `min_pixels` is None."""
        return replace(rule, min_pixels=self.draw_rule.min_pixels) if rule.min_pixels is None else rule
