"""`fewshot index`: make or verify the index of PASCAL-5i, and count what each fold has to train and to test on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fewshot.data.folds import PASCAL_CLASSES, PASCAL_FOLDS, Fold, pascal_fold
from fewshot.data.index import Index, build_index, load_index, save_index
from fewshot.data.pools import Convention, DrawRule, evaluation_pool, training_pool

_COLUMNS = ("fold", "train images", "train pairs", "also held out", "query pairs", "val images", "val pairs")


@dataclass(frozen=True)
class ListFiles:
    """Where the lists of a data set are, and where what they name is.

    Attributes:
        root: The data folder, which the paths in the lists start from.
        train: List files of the images to train on.
        val: List files of the images to test on.
    """

    root: Path
    train: Sequence[Path]
    val: Sequence[Path]


@dataclass(frozen=True)
class FoldCounts:
    """How much a fold has.

    Attributes:
        fold: Which classes are held out.
        train_images: Images that pass the filter for a held-in class.
        train_pairs: Such images, once for each held-in class that they pass it for.
        also_held_out: Those of the images that pass it for a held-out class too.
        query_pairs: Images and classes that a query of training may be: `train_pairs`, or more by the legacy draw.
        val_images: Images that pass the filter for a held-out class.
        val_per_class: Images of the test for each held-out class.
    """

    fold: Fold
    train_images: int
    train_pairs: int
    also_held_out: int
    query_pairs: int
    val_images: int
    val_per_class: tuple[int, ...]

    @property
    def val_pairs(self) -> int:
        """Images of the test, once for each held-out class that they pass the filter for."""
        return sum(self.val_per_class)


def make_index(
    files: ListFiles, out: Path, *, rebuild: bool = False, processes: int = 1, photographs: bool = True
) -> Index:
    """Read the index of PASCAL-5i at `out`, or make it there.

    Args:
        files: What to make it from.
        out: Its file. One that is there must have been made from the same lists.
        rebuild: Read every mask and replace the file, whatever it holds.
        processes: As for `build_index`.
        photographs: As for `build_index`, when the index is made; one that is read does not touch images.

    Raises:
        StaleIndexError: The file was made from other lists.
        DamagedFileError: The file is damaged.
        ValueError: As for `build_index`.
        FileNotFoundError: As for `build_index`.
    """
    if out.exists() and not rebuild:
        index = load_index(out)
        index.check_lists(files.train, files.val)
        return index
    index = build_index(
        files.root,
        files.train,
        files.val,
        classes=PASCAL_CLASSES,
        processes=processes,
        photographs=photographs,
    )
    save_index(index, out)
    return index


def count_fold(
    index: Index, fold: Fold, *, convention: Convention = "keep", rule: DrawRule | None = None
) -> FoldCounts:
    """Count what a fold has to train and to test on.

    Args:
        index: The data set.
        fold: Which classes are held out.
        convention: What becomes of training images with held-out objects.
        rule: When an image counts for a class.
    """
    train = training_pool(index.train, fold, convention=convention, rule=rule)
    val = evaluation_pool(index.val, fold, rule=rule)
    return FoldCounts(
        fold,
        train_images=len(train.entries),
        train_pairs=len(train.pairs),
        also_held_out=train.count_showing(fold.held_out),
        query_pairs=len(train.query_pairs),
        val_images=len(val.entries),
        val_per_class=tuple(len(numbers) for numbers in val.images_of.values()),
    )


def format_index(index: Index, *, convention: Convention = "keep", rule: DrawRule | None = None) -> str:
    """Lay out what the lists hold and what each fold has of it, for the terminal."""
    lines = [
        f"{name}: {len(split.entries):,} images from {', '.join(split.lists)} ({split.duplicates:,} repeated lines "
        f"left out), lists sha256 {split.digest[:12]}"
        for name, split in (("train", index.train), ("val", index.val))
    ]
    lines += ["", "  ".join([*_COLUMNS, "val per class"])]
    for number in range(PASCAL_FOLDS):
        counts = count_fold(index, pascal_fold(number), convention=convention, rule=rule)
        row = (
            number,
            counts.train_images,
            counts.train_pairs,
            counts.also_held_out,
            counts.query_pairs,
            counts.val_images,
            counts.val_pairs,
        )
        cells = [f"{value:{len(column)},}" for column, value in zip(_COLUMNS, row, strict=True)]
        lines.append("  ".join([*cells, " ".join(str(count) for count in counts.val_per_class)]))
    return "\n".join(lines)
