"""How many pixels of each class each mask holds: read once, by several processes, with a bar."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import torch
from tqdm import tqdm

from fewshot.data.masks import MaskFile, check_sizes
from fewshot.data.reading import read_size

_CHUNK = 32

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class MaskScan:
    """One mask to read.

    Attributes:
        mask: Its file.
        photograph: The photograph that it must be as large as; None to leave that unchecked.
    """

    mask: MaskFile
    photograph: Path | None


def count_pixels(scan: MaskScan) -> dict[int, int]:
    """Count the pixels of each class that a mask holds.

    Returns:
        Pixels by class, without background and unknown ones, in rising order; classes without a pixel are left out.

    Raises:
        UnreadableImageError: The mask or the photograph is missing, damaged or no such image.
        WrongLabelError: The mask holds other labels than its data set has, or is not of its photograph's size.
    """
    labels = scan.mask.read()
    if scan.photograph is not None:
        size = (labels.shape[0], labels.shape[1])
        check_sizes(scan.photograph, read_size(scan.photograph), scan.mask.path, size)
    counts = torch.bincount(labels.flatten().clamp_min(0)).tolist()
    return {label: count for label, count in enumerate(counts) if count and label}


def scan_masks(scans: Sequence[MaskScan], *, processes: int = 1) -> list[dict[int, int]]:
    """Count the pixels of each class in every mask.

    Args:
        scans: What to read.
        processes: How many processes read, at least 1; 1 reads in this one.

    Returns:
        Pixels by class of each mask, in the order of `scans`.

    Raises:
        ValueError: `processes` is smaller than 1.
        FileNotFoundError: Files are missing; the first is named, and how many there are.
        UnreadableImageError: As for `count_pixels`.
        WrongLabelError: As for `count_pixels`.
    """
    _check_presence(scans)
    with (
        map_files(count_pixels, scans, processes=processes) as counted,
        tqdm(counted, desc="masks", total=len(scans), unit="mask") as bar,
    ):
        return list(bar)


@contextmanager
def map_files(
    function: Callable[[Item], Result], items: Sequence[Item], *, processes: int
) -> Iterator[Iterator[Result]]:
    """Apply a function to many items, in this process (`processes` of 1) or in several; results keep the order.

    Raises:
        ValueError: `processes` is smaller than 1.
    """
    check_processes(processes)
    if processes == 1:
        yield map(function, items)
        return
    # Started afresh: a fork would copy the locks of torch's threads in whatever state they are.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        try:
            yield pool.map(function, items, chunksize=_CHUNK)
        finally:
            # After a refusal what waits is of no more use.
            pool.shutdown(cancel_futures=True)


def check_processes(processes: int) -> None:
    """Make sure that there is at least one process.

    Raises:
        ValueError: There is none.
    """
    if processes < 1:
        raise ValueError(f"`processes` must be at least 1. Found `processes = {processes}`. Pass 1 to start none.")


def _check_presence(scans: Sequence[MaskScan]) -> None:
    wanted = [path for scan in scans for path in (scan.mask.path, scan.photograph) if path is not None]
    missing = [path for path in wanted if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"Every image and mask of the lists must be in the data folder. Found {len(missing)} of {len(wanted)} "
            f"files missing, the first of them {missing[0]}. Correct the data folder, or fetch what is missing."
        )
