"""Timing in turns, so that a machine that becomes busy slows all alike."""

import math
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial

import torch
from tqdm import tqdm

Clock = Callable[[Callable[[], object]], float]
"""Runs something once and gives the seconds that it took."""


def wait_for(device: torch.device) -> None:
    """Wait until all that was given to a device is done; a CPU has done it when a call returns."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def wall(run: Callable[[], object]) -> float:
    """Seconds until a run returned, which is when it is done on a CPU."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def take_turns(
    runs: Mapping[str, Callable[[], object]],
    rounds: int,
    title: str,
    *,
    clock: Clock = wall,
    limit: float = math.inf,
) -> dict[str, dict[str, float]]:
    """Median and quartiles of the time of each, in milliseconds; whoever calls has warmed them up.

    Args:
        runs: What is timed, by name.
        rounds: Turns that each takes, at least 2.
        title: Beside the bar of progress.
        clock: What it is timed with.
        limit: Seconds after which no turn begins that is not the second.
    """
    return gather({name: partial(clock, run) for name, run in runs.items()}, rounds, title, limit)


def gather(
    measures: Mapping[str, Callable[[], float]], rounds: int, title: str, limit: float = math.inf
) -> dict[str, dict[str, float]]:
    """Median and quartiles of what each measures in its turns, in milliseconds for seconds.

    Args:
        measures: What gives seconds, by name.
        rounds: Turns that each takes, at least 2.
        title: Beside the bar of progress.
        limit: Seconds after which no turn begins that is not the second.
    """
    times: dict[str, list[float]] = {name: [] for name in measures}
    begin = time.perf_counter()
    for turn in tqdm(range(rounds), desc=title):
        if turn >= 2 and time.perf_counter() - begin > limit:
            break
        for name, measure in measures.items():
            times[name].append(1e3 * measure())
    return {name: spread(taken) for name, taken in times.items()}


def spread(times: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return {"median_ms": median, "low_ms": low, "high_ms": high}
