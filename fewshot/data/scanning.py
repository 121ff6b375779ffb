"""How many pixels of each class each mask holds: read once, by several processes, with a bar."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from tqdm import tqdm

from fewshot.data.reading import read_labels, read_size
from fewshot.episode import IGNORED

_CHUNK = 32


class WrongLabelError(ValueError):
    """A mask holds labels that its data set does not have, or does not belong to its photograph."""


@dataclass(frozen=True)
class MaskScan:
    """One mask to read.

    Attributes:
        mask: Its file.
        image: The photograph that it must be as large as; None to leave that unchecked.
        num_classes: Labels 1 to `num_classes` are classes; beside them only 0 and `IGNORED` may occur.
    """

    mask: Path
    image: Path | None
    num_classes: int


def count_pixels(scan: MaskScan) -> dict[int, int]:
    """Count the pixels of each class that a mask holds.

    Returns:
        Pixels by class, without background and `IGNORED`, in rising order; classes without a pixel are left out.

    Raises:
        UnreadableImageError: The mask or the photograph is missing, damaged or no such image.
        WrongLabelError: The mask holds other labels, or is not of its photograph's size.
    """
    labels = read_labels(scan.mask)
    counts = torch.bincount(labels.flatten(), minlength=IGNORED + 1).tolist()
    pixels = {label: count for label, count in enumerate(counts) if count and label not in (0, IGNORED)}
    unknown = [label for label in pixels if label > scan.num_classes]
    if unknown:
        raise WrongLabelError(
            f"A mask must hold labels 0 to {scan.num_classes} and {IGNORED} only. Found {unknown[:5]} in {scan.mask}. "
            f"Use the masks that hold classes, such as SegmentationClassAug, not those of colours or objects."
        )
    size = (labels.shape[0], labels.shape[1])
    if scan.image is not None and (found := read_size(scan.image)) != size:
        raise WrongLabelError(
            f"A photograph and its mask must be of one size. Found {found} in {scan.image} and {size} in {scan.mask} "
            f"(height, width). Fetch both from the same release."
        )
    return pixels


def scan_masks(scans: Sequence[MaskScan], *, processes: int = 1, description: str = "masks") -> list[dict[int, int]]:
    """Count the pixels of each class in every mask.

    Args:
        scans: What to read.
        processes: How many processes read, at least 1; 1 reads in this one.
        description: What the bar says.

    Returns:
        Pixels by class of each mask, in the order of `scans`.

    Raises:
        ValueError: `processes` is smaller than 1.
        FileNotFoundError: Files are missing; the first is named, and how many there are.
        UnreadableImageError: As for `count_pixels`.
        WrongLabelError: As for `count_pixels`.
    """
    if processes < 1:
        raise ValueError(f"`processes` must be at least 1. Found `processes = {processes}`. Pass 1 to start none.")
    _check_presence(scans)
    with _mapped(scans, processes) as counted, tqdm(counted, desc=description, total=len(scans), unit="mask") as bar:
        return list(bar)


@contextmanager
def _mapped(scans: Sequence[MaskScan], processes: int) -> Iterator[Iterator[dict[int, int]]]:
    if processes == 1:
        yield map(count_pixels, scans)
        return
    # Started afresh: a fork would copy the locks of torch's threads in whatever state they are.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        try:
            yield pool.map(count_pixels, scans, chunksize=_CHUNK)
        finally:
            # After a refusal the masks that wait are of no more use.
            pool.shutdown(cancel_futures=True)


def _check_presence(scans: Sequence[MaskScan]) -> None:
    wanted = [path for scan in scans for path in (scan.mask, scan.image) if path is not None]
    missing = [path for path in wanted if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"Every image and mask of the lists must be in the data folder. Found {len(missing)} of {len(wanted)} "
            f"files missing, the first of them {missing[0]}. Correct the data folder, or fetch what is missing."
        )
