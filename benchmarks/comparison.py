"""All who offer a problem, on the same problem, to the same error: answers are timed, and what is none is said.

The peers do not stop by the violation that is asked for, so each runs the fewest iterations that reach it, found
beforehand and not timed, without any test of its own: to their advantage.
"""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from judging import Verdict, distance, find_fault, find_fewest, violation
from peers import Method, own
from timing import Clock, take_turns, wall
from torch import Tensor
from workload import Workload

LIMIT = 3000
"""Most iterations that are tried, ..."""

PATIENCE = 4.0
"""... or as many as take so many seconds."""

Row = dict[str, float | str | None]


_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Place:
    """Where methods are compared.

    Attributes:
        device: The costs are there.
        clock: What methods are timed with.
        limit: Seconds after which no more turns are taken.
    """

    device: torch.device = _CPU
    clock: Clock = wall
    limit: float = math.inf


HERE = Place()


@dataclass(frozen=True)
class Entry:
    """A method made ready: how it is run once, how many iterations it is told, and what its answer is worth."""

    run: Callable[[], object]
    iterations: int
    verdict: Verdict

    @property
    def fault(self) -> str | None:
        """What is wrong with its answer."""
        return self.verdict.fault


def compare(
    workload: Workload, offered: Mapping[str, Method], rounds: int, guesses: dict[str, int], place: Place = HERE
) -> dict[str, Row]:
    """Iterations, median, quartiles, and what the plan is worth; no time where it is no answer, but its fault.

    Args:
        workload: To solve.
        offered: Methods by name.
        rounds: Turns that each takes.
        guesses: Iterations at which the search begins; filled with what it finds, for the next workload alike.
        place: Where that is done.
    """
    cost = workload.cost().to(place.device)
    optima = {
        capped: optimum(cost, workload, capped=capped) for capped in {method.capped for method in offered.values()}
    }
    entries: dict[str, Entry] = {}
    for name, method in offered.items():
        entries[name] = make_ready(cost, workload, method, optima[method.capped], guesses.get(name, 12), place.clock)
        if entries[name].fault is None and not method.stops:
            guesses[name] = entries[name].iterations
    return in_turns(entries, {name for name, method in offered.items() if method.stops}, rounds, title(workload), place)


def in_turns(
    entries: Mapping[str, Entry], stopping: set[str], rounds: int, heading: str, place: Place = HERE
) -> dict[str, Row]:
    """Time those whose answer is one.

    Args:
        entries: All, by name.
        stopping: Those that stop by themselves, whose iterations are not told.
        rounds: Turns that each takes.
        heading: Beside the bar of progress.
        place: Whose clock they are timed with.
    """
    right = {name: one.run for name, one in entries.items() if one.fault is None}
    times = take_turns(right, rounds, heading, clock=place.clock, limit=place.limit)
    return {
        name: {
            "iterations": None if name in stopping else one.iterations,
            "violation": finite(one.verdict.violation),
            "distance": finite(one.verdict.distance),
            "fault": one.fault,
            **times.get(name, {}),
        }
        for name, one in entries.items()
    }


def make_ready(
    cost: Tensor, workload: Workload, method: Method, optimum: Tensor | None, guess: int, clock: Clock = wall
) -> Entry:
    """Find how many iterations a method needs, and judge the plan that it returns after them."""

    def judge(plan: Tensor) -> Verdict:
        away = math.nan if optimum is None else distance(plan, optimum, workload)
        return Verdict(violation(plan, workload), away, find_fault(plan, optimum, workload))

    def prepare() -> Callable[[int], Tensor]:
        return method.prepare(cost, workload)

    def reaches(plan: Tensor) -> bool:
        return violation(plan, workload) <= workload.error

    return search(prepare, reaches, judge, LIMIT if method.stops else None, guess, clock)


def search(
    prepare: Callable[[], Callable[[int], Any]],
    reaches: Callable[[Any], bool],
    judge: Callable[[Any], Verdict],
    told: int | None,
    guess: int,
    clock: Clock,
) -> Entry:
    """Make a method ready; one that raises has that for a fault.

    Args:
        prepare: Gives what is run with a number of iterations.
        reaches: Whether an answer has the error that is asked for.
        judge: What an answer is worth.
        told: Iterations of one that stops by itself; None where the fewest are searched.
        guess: Where that search begins.
        clock: By which patience is measured.
    """
    with warnings.catch_warnings():
        # POT and PyTorch warn of what is found in the answer.
        warnings.simplefilter("ignore")
        try:
            run = prepare()
            iterations = _fewest(run, reaches, guess, clock) if told is None else told
            verdict = judge(run(iterations))
        except Exception as error:
            return Entry(lambda: None, 0, Verdict(math.nan, math.nan, raised(error)))
    fault = verdict.fault and f"{verdict.fault} after {iterations:,} iterations"
    return Entry(partial(run, iterations), iterations, verdict._replace(fault=fault))


def raised(error: Exception) -> str:
    """Say what stopped someone."""
    return f"raised {type(error).__name__}: {str(error).strip().partition(chr(10))[0][:120]}"


def find_iterations(run: Callable[[int], Tensor], workload: Workload, guess: int, clock: Clock = wall) -> int:
    """Fewest iterations that reach the violation, or as many as patience allows."""
    return _fewest(run, lambda plan: violation(plan, workload) <= workload.error, guess, clock)


def _fewest(run: Callable[[int], Any], reaches: Callable[[Any], bool], guess: int, clock: Clock) -> int:
    run(guess)  # Compiles, and warms caches and pages.
    limit = max(guess, min(LIMIT, int(PATIENCE * guess / clock(partial(run, guess)))))
    found = find_fewest(lambda count: reaches(run(count)), guess, limit)
    return limit if found is None else found


def optimum(cost: Tensor, workload: Workload, *, capped: bool) -> Tensor:
    """The optimal plan in float64, to an error of 1e-9, by the solver that the tests check against Newton's method."""
    return own.solve(cost.double(), workload, "capped" if capped else "dummy", tol=1e-9)(5_000)


def finite(figure: float) -> float | None:
    """None for what JSON has no number for."""
    return figure if math.isfinite(figure) else None


def title(workload: Workload) -> str:
    """A workload in words."""
    mass = "balanced" if workload.mass is None else f"M = {workload.mass:g}"
    return f"{workload.batch} × {workload.nodes}², {mass}, reg {workload.reg:g}, to {workload.error:g}"


def show(heading: str, rows: Mapping[str, Mapping[str, object]]) -> None:
    """Print a table."""
    print(heading)
    for name, row in rows.items():
        figures = (f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items())
        print(f"  {name:46}", *figures)
