"""`fewshot index`: make or verify the index of a data set, and count what each fold has to train and to test on."""

from dataclasses import dataclass

from jsonargparse import ArgumentParser, Namespace

from fewshot.commands.options import DATA_HELP, add_config
from fewshot.data.dataset import DataSet
from fewshot.data.folds import Fold
from fewshot.data.index import Index, Split
from fewshot.data.pools import Convention, DrawRule, evaluation_pool, training_pool

_COLUMNS = ("fold", "train images", "train pairs", "also held out", "query pairs", "val images", "val pairs")
_MOST_CLASSES = 20
"""More than these are summed up, as the 240 of FSS-1000 would fill the screen."""


def build_index_parser() -> ArgumentParser:
    """Make the parser of `fewshot index`."""
    description = "Read every mask of a data set, once; count what each fold has."
    index = ArgumentParser(description=description, allow_abbrev=False)
    add_config(index, presets=False)
    index.add_argument("--data", type=DataSet, required=True, help=DATA_HELP)
    index.add_argument("--rebuild", type=bool, default=False, help="read every mask even if the index is there")
    index.add_argument("--convention", type=Convention, default="keep", help="training images with held-out objects")
    index.add_class_arguments(DrawRule, "rule")
    return index


def index_data(options: Namespace, _command: str) -> str:
    """Make or verify the index and lay out its counts.

    Args:
        options: As `build_index_parser` parses them, not instantiated.

    Raises:
        ValueError: A list, a mask, a photograph or the index cannot be used.
        FileNotFoundError: A file is missing.
    """
    values = build_index_parser().instantiate(options)
    if values.rebuild:
        values.data.rebuild_index()
    return format_index(values.data, convention=values.convention, rule=values.rule)


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


def format_index(data: DataSet, *, convention: Convention = "keep", rule: DrawRule | None = None) -> str:
    """Lay out what a data set holds and what each fold has of it, for the terminal.

    Args:
        data: The data set; its index is made if it is missing, and verified if it is there.
        convention: What becomes of training images with held-out objects.
        rule: When an image counts for a class; where it leaves `min_pixels` open, the data set says.

    Raises:
        ValueError: As for `DataSet.load_index`.
        FileNotFoundError: As for `DataSet.load_index`.
    """
    rule = data.complete_rule(rule or DrawRule())
    indices = [data.load_index(number) for number in range(data.fold_count)]
    counts = [
        count_fold(index, data.fold(number), convention=convention, rule=rule) for number, index in enumerate(indices)
    ]
    return "\n".join(
        [*_describe_splits(indices), "", "  ".join([*_COLUMNS, "val per class"]), *map(_format_row, counts)]
    )


def _describe_splits(indices: list[Index]) -> list[str]:
    if all(index == indices[0] for index in indices):
        return [_describe(name, getattr(indices[0], name)) for name in ("train", "val")]
    return [
        _describe(f"fold {number}, {name}", getattr(index, name))
        for number, index in enumerate(indices)
        for name in ("train", "val")
    ]


def _describe(name: str, split: Split) -> str:
    return (
        f"{name}: {len(split.entries):,} images from {', '.join(split.lists)} ({split.duplicates:,} repeated lines "
        f"left out), lists sha256 {split.digest[:12]}"
    )


def _format_row(counts: FoldCounts) -> str:
    row = (
        counts.fold.number,
        counts.train_images,
        counts.train_pairs,
        counts.also_held_out,
        counts.query_pairs,
        counts.val_images,
        counts.val_pairs,
    )
    cells = [f"{value:{len(column)},}" for column, value in zip(_COLUMNS, row, strict=True)]
    per_class = counts.val_per_class
    if len(per_class) > _MOST_CLASSES:
        return "  ".join([*cells, f"{min(per_class)} to {max(per_class)} in each of {len(per_class)} classes"])
    return "  ".join([*cells, " ".join(str(count) for count in per_class)])
