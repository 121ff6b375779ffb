"""How the time is dealt out: what there is no time left for is not begun."""

import time
from collections.abc import Callable


class Deadline:
    """Seconds from now on, of which each row asks for what it is reckoned to take.

    Args:
        seconds: That there are.
        now: What tells the time.
    """

    def __init__(self, seconds: float, now: Callable[[], float] = time.perf_counter) -> None:
        self._now, self._begin, self._seconds = now, now(), seconds

    @property
    def used(self) -> float:
        """Seconds so far."""
        return self._now() - self._begin

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return self._seconds - self.used

    def refuses(self, needed: float) -> str | None:
        """Say why something that takes so many seconds is not begun; None = it may be."""
        if needed <= self.left:
            return None
        return f"no time was left: reckoned to take {needed:.0f} s, {max(self.left, 0.0):.0f} s remained"
