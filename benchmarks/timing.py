"""Timing in turns, so that a machine that becomes busy slows all alike."""

import statistics
import time
from collections.abc import Callable, Mapping

from tqdm import tqdm


def take_turns(runs: Mapping[str, Callable[[], object]], rounds: int, title: str) -> dict[str, dict[str, float]]:
    """Median and quartiles of the time of each, in milliseconds; whoever calls has warmed them up.

    Args:
        runs: What is timed, by name.
        rounds: Turns that each takes, at least 2.
        title: Beside the bar of progress.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in tqdm(range(rounds), desc=title):
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - begin))
    return {name: spread(taken) for name, taken in times.items()}


def spread(times: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return {"median_ms": median, "low_ms": low, "high_ms": high}
