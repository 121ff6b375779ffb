"""Puts every case to every library, and writes down who fails what."""

import contextlib
import io
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.conformance.judge import Fault
from tests.conformance.library import Library, NotOffered

Case = Callable[[Library], None]
"""A sentence that a library keeps or not: raises `Fault` with what was found instead."""

SECONDS = 60
"""Wall-clock bound of one case on one library."""


@dataclass(frozen=True)
class Verdict:
    """How one library did on one case."""

    case: str
    library: str
    outcome: Literal["pass", "FAIL", "not offered", "not installed"]
    found: str = ""
    seconds: float = 0.0


class OutOfTimeError(Exception):
    """A case took longer than its bound."""


@contextlib.contextmanager
def bounded(seconds: int) -> Iterator[None]:
    """Raise when the block takes longer; code that never returns to Python is caught at its return."""

    def ring(*_: object) -> None:
        raise OutOfTimeError(f"not done after {seconds} s")

    previous = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def sentence(case: Case) -> str:
    """The name of a case, as it is read."""
    name = case.__name__.replace("_", " ")
    return name[0].upper() + name[1:]


def judge(case: Case, library: Library) -> Verdict:
    """Put one case to one library."""
    started = time.perf_counter()

    def verdict(outcome: Literal["pass", "FAIL", "not offered"], found: str = "") -> Verdict:
        return Verdict(sentence(case), library.name, outcome, found, time.perf_counter() - started)

    # Some libraries print where others warn.
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            with bounded(SECONDS):
                case(library)
        except NotOffered:
            return verdict("not offered")
        except Fault as fault:
            return verdict("FAIL", str(fault))
        except library.refusals as refusal:
            return verdict("FAIL", f"refused: {_first_line(refusal)}")
        except Exception as crash:
            return verdict("FAIL", f"crashed: {_first_line(crash)}")
    return verdict("pass")


def run(cases: Sequence[Case], libraries: Sequence[Library | str]) -> list[Verdict]:
    """Put every case to every library; a name stands for a library that is not installed."""
    return [
        Verdict(sentence(case), library, "not installed") if isinstance(library, str) else judge(case, library)
        for library in libraries
        for case in cases
    ]


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:90] if text else 'without a message'}"
