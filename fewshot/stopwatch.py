"""How long the stages of a run take."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Duration:
    """How long a stage took.

    Attributes:
        wall: Seconds on the clock.
        processor: Seconds of processor time, of this process and of those it started.
    """

    wall: float
    processor: float


@dataclass
class Stopwatch:
    """Wall and processor time of the stages of a run, by name."""

    durations: dict[str, Duration] = field(default_factory=dict)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Time what runs inside, this process and the finished ones it started."""
        wall, processor = time.perf_counter(), _processor_seconds()
        yield
        self.durations[stage] = Duration(time.perf_counter() - wall, _processor_seconds() - processor)


def _processor_seconds() -> float:
    return sum(os.times()[:4])
