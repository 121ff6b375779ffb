"""Making the index of a data set and keeping it in a file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fewshot.data.index import Index, IndexEntry, Split, StaleIndexError, load_index, save_index
from fewshot.data.lists import ImageList, ListedImage, UnusableListError
from fewshot.data.scanning import MaskScan, scan_masks


@dataclass(frozen=True)
class IndexRecipe:
    """What an index is made from.

    Attributes:
        classes: Names of the classes, in the order of their labels.
        train: The images to train on.
        val: The images to test on.
        scan: Says which files a listed image is.
        crowds: Classes of the crowds that an image shows, by its name in the lists; images without one are left out.
    """

    classes: tuple[str, ...]
    train: ImageList
    val: ImageList
    scan: Callable[[ListedImage], MaskScan]
    crowds: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def check(self, index: Index) -> None:
        """Make sure that an index was made from these lists and classes.

        Raises:
            StaleIndexError: It was made from others.
        """
        for name, listing, split in (("train", self.train, index.train), ("val", self.val, index.val)):
            if listing.digest != split.digest:
                raise StaleIndexError(
                    f"An index must be made from the lists it is used with. Found other content in "
                    f"{', '.join(listing.names)} than in the `{name}` lists that it was made from "
                    f"({', '.join(split.lists)}). Make the index again from these lists, or name the others."
                )
        if index.classes != self.classes:
            raise StaleIndexError(
                f"An index must be made for the classes it is used with. Found {', '.join(index.classes)[:80]} in "
                f"place of {', '.join(self.classes)[:80]}. Make the index again, or name another one."
            )


def keep_index(path: Path, recipe: IndexRecipe, *, processes: int = 1) -> Index:
    """Read the index at `path`, or make it and write it there.

    Args:
        path: Its file. One that is there must have been made from the same lists; then no image is touched.
        recipe: What to make it from.
        processes: How many processes read masks, at least 1.

    Raises:
        StaleIndexError: The file was made from other lists.
        DamagedFileError: The file is damaged.
        ValueError: As for `build_index`.
        FileNotFoundError: As for `build_index`.
    """
    if path.exists():
        index = load_index(path)
        recipe.check(index)
        return index
    index = build_index(recipe, processes=processes)
    save_index(index, path)
    return index


def build_index(recipe: IndexRecipe, *, processes: int = 1) -> Index:
    """Make an index by reading every mask that the lists name.

    Args:
        recipe: What to make it from.
        processes: How many processes read masks, at least 1.

    Raises:
        UnusableListError: A list names an image for a class that its mask does not show, or both `train` and `val` name
            an image.
        FileNotFoundError: Images or masks are missing.
        UnreadableImageError: An image or mask is damaged or of the wrong kind.
        WrongLabelError: A mask holds labels beyond the classes, or is not of its photograph's size.
    """
    lists = (recipe.train, recipe.val)
    shared = {listed.image for listed in lists[0].images} & {listed.image for listed in lists[1].images}
    if shared:
        raise UnusableListError(
            f"No image may be in the lists of both `train` and `val`. Found {len(shared)}, among them {min(shared)}, "
            f"in {', '.join([*lists[0].names, *lists[1].names])}. Leave them out of one of the lists."
        )
    counts = scan_masks([recipe.scan(listed) for part in lists for listed in part.images], processes=processes)
    cut = len(lists[0].images)
    train, val = _join(lists[0], counts[:cut], recipe.crowds), _join(lists[1], counts[cut:], recipe.crowds)
    return Index(recipe.classes, train, val)


def _join(listing: ImageList, counts: Sequence[dict[int, int]], crowds: Mapping[str, tuple[int, ...]]) -> Split:
    entries = []
    for listed, pixels in zip(listing.images, counts, strict=True):
        absent = [class_id for class_id in listed.class_ids or () if class_id not in pixels]
        if absent:
            raise UnusableListError(
                f"An image must show the classes that it is listed under. Found no pixel of class {absent[0]} in "
                f"{listed.mask}, listed in {' or '.join(listing.names)}. Use the masks that the lists were made for."
            )
        shown = crowds.get(listed.image, ())
        entries.append(IndexEntry(listed.image, listed.mask, pixels, listed.class_ids, shown))
    return Split(listing.names, listing.digest, listing.duplicates, tuple(entries))
