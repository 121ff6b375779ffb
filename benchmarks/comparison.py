"""All who offer a problem, on the same problem, to the same error: answers are timed, and what is none is said.

The peers do not stop by the violation that is asked for, so each runs the fewest iterations that reach it, found
beforehand and not timed, without any test of its own: to their advantage.
"""

import math
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from judging import distance, find_fault, find_fewest, violation
from peers import Method, Run, own
from timing import take_turns
from torch import Tensor
from workload import Workload

LIMIT = 3000
"""Most iterations that are tried, ..."""

PATIENCE = 4.0
"""... or as many as take so many seconds."""

Row = dict[str, float | str | None]


@dataclass(frozen=True)
class Entry:
    """A method made ready: how many iterations it is told, and its plan after them."""

    run: Run
    iterations: int
    plan: Tensor
    fault: str | None


def compare(workload: Workload, offered: Mapping[str, Method], rounds: int, guesses: dict[str, int]) -> dict[str, Row]:
    """Iterations, median, quartiles, and what the plan is worth; no time where it is no answer, but its fault.

    Args:
        workload: To solve.
        offered: Methods by name.
        rounds: Turns that each takes.
        guesses: Iterations at which the search begins; filled with what it finds, for the next workload alike.
    """
    cost = workload.cost()
    optima = {
        capped: optimum(cost, workload, capped=capped) for capped in {method.capped for method in offered.values()}
    }
    entries: dict[str, Entry] = {}
    for name, method in offered.items():
        entries[name] = make_ready(cost, workload, method, optima[method.capped], guesses.get(name, 12))
        if entries[name].fault is None and not method.stops:
            guesses[name] = entries[name].iterations
    right = {name: partial(one.run, one.iterations) for name, one in entries.items() if one.fault is None}
    times = take_turns(right, rounds, title(workload))
    return {
        name: {
            "iterations": None if offered[name].stops else one.iterations,
            "violation": finite(violation(one.plan, workload)),
            "distance": finite(distance(one.plan, optima[offered[name].capped], workload)),
            "fault": one.fault,
            **times.get(name, {}),
        }
        for name, one in entries.items()
    }


def make_ready(cost: Tensor, workload: Workload, method: Method, optimum: Tensor, guess: int) -> Entry:
    """Find how many iterations a method needs, and judge what it returns after them."""
    with warnings.catch_warnings():
        # POT and PyTorch warn of what is found in the plan.
        warnings.simplefilter("ignore")
        run = method.prepare(cost, workload)
        iterations = LIMIT if method.stops else find_iterations(run, workload, guess)
        plan = run(iterations)
    fault = find_fault(plan, optimum, workload)
    return Entry(run, iterations, plan, fault and f"{fault} after {iterations:,} iterations")


def find_iterations(run: Run, workload: Workload, guess: int) -> int:
    """Fewest iterations that reach the violation, or as many as patience allows."""
    run(guess)  # Compiles, and warms caches and pages.
    begin = time.perf_counter()
    run(guess)
    limit = max(guess, min(LIMIT, int(PATIENCE * guess / (time.perf_counter() - begin))))
    found = find_fewest(lambda count: violation(run(count), workload) <= workload.error, guess, limit)
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
