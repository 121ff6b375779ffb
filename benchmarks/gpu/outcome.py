"""What a row gives: figures beside their floors and targets, and comparisons with the peers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Times = Mapping[str, float]
"""`median_ms`, `low_ms` and `high_ms`."""


@dataclass(frozen=True)
class Figure:
    """One thing that was measured of partialot.

    Attributes:
        what: It is, in words.
        times: Its time.
        floor: Seconds that it cannot be faster than, from the measured ceilings; None where nothing bounds it.
        floor_is: What that is made of.
        target: Milliseconds that it should take at most on an H200; None = no target was set.
    """

    what: str
    times: Times
    floor: float | None = None
    floor_is: str = ""
    target: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Give it with the fraction of the floor that is reached."""
        bound = None if self.floor is None or not 0 < self.floor < math.inf else 1e3 * self.floor
        # A difference of two runs may drown in their noise.
        told = bound is not None and self.times["median_ms"] > 0
        return {
            "what": self.what,
            **self.times,
            "floor_ms": bound,
            "floor_is": self.floor_is,
            "fraction_of_floor": bound / self.times["median_ms"] if told and bound is not None else None,
            "target_ms": self.target,
        }


@dataclass(frozen=True)
class Ratio:
    """One number without a unit, or in units that are named.

    Attributes:
        what: It is, in words, unit included.
        value: Itself.
        target: The most it should be; None = no target was set.
    """

    what: str
    value: float
    target: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Give it as it is."""
        return {"what": self.what, "value": self.value, "target": self.target}


@dataclass(frozen=True)
class Comparison:
    """partialot and its peers on one problem.

    Attributes:
        what: It is, in words.
        results: Rows as those of `comparison.compare`: a time, or the fault that there is none for.
    """

    what: str
    results: Mapping[str, Mapping[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """Give it as it is."""
        return {"what": self.what, "results": self.results}


Outcome = Figure | Ratio | Comparison
