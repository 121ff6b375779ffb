"""The problems of a batch side by side: the same answers and the same refusals as one after the other."""

import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from threading import Event
from typing import Any

import pytest
import torch
from torch import Tensor

import partialot
from partialot.solvers import lp


def costs(count: int, size: int = 12) -> Tensor:
    """Uniform costs in [0, 1], the same every time."""
    return torch.rand(count, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("mass", [None, 0.4])
@pytest.mark.parametrize("workers", [2, 3, 16, None])
def test_no_answer_depends_on_the_number_of_workers(workers: int | None, mass: float | None) -> None:
    alone = partialot.solve(costs(37), mass=mass, solver=partialot.ExactLP(workers=1))
    together = partialot.solve(costs(37), mass=mass, solver=partialot.ExactLP(workers=workers))
    assert torch.equal(together.plan, alone.plan)
    for one, other in zip(together.duals, alone.duals, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("workers", [1, 2, 16])
def test_the_first_problem_that_cannot_be_solved_is_named(workers: int) -> None:
    cost = costs(40, size=3)
    # Each node has an allowed pair, yet two sources share the one target they may reach.
    cost[[17, 23], :2, 1:] = torch.inf
    with pytest.raises(partialot.InfeasibleProblemError, match=r"Found 0\.333 of the mass of problem 17 .* Allow more"):
        partialot.solve(cost, solver=partialot.ExactLP(workers=workers))


def test_problems_after_a_refusal_are_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first problem fails while all others wait for the batch to be called off."""
    called_off, started = Event(), list[int]()
    shutdown = ThreadPoolExecutor.shutdown

    def told(pool: ThreadPoolExecutor, wait: bool = True, *, cancel_futures: bool = False) -> None:
        shutdown(pool, wait=wait and not cancel_futures, cancel_futures=cancel_futures)
        if cancel_futures:
            called_off.set()

    def refuse(problem: Any, start: Any, max_iter: int, index: int) -> Any:
        started.append(index)
        if index:
            called_off.wait(1.0)
        raise partialot.SolverError(f"The test must see problem {index}.")

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", told)
    monkeypatch.setattr(lp, "_solve_one", refuse)
    with pytest.raises(partialot.SolverError, match=r"The test must see problem 0\."):
        partialot.solve(costs(64, size=2), solver=partialot.ExactLP(workers=2))
    # The first, and what the two threads took up before they heard of it; each of 16 pieces would start one.
    assert len(started) <= 4


def test_every_problem_that_runs_out_of_pivots_is_told() -> None:
    with pytest.warns(partialot.ConvergenceWarning, match=r"in the worst of 6 of 6 problems"):
        solution = partialot.solve(costs(6, size=40), solver=partialot.ExactLP(max_iter=1, workers=3))
    assert not solution.converged.any()


def test_warning_filters_are_left_as_they_were() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        before = list(warnings.filters)
        partialot.solve(costs(64), solver=partialot.ExactLP(workers=4))
        assert list(warnings.filters) == before


@pytest.mark.parametrize("workers", [0, -1])
def test_impossible_numbers_of_workers_are_refused(workers: int) -> None:
    with pytest.raises(ValueError, match=rf"at least 1, or None\. Found `workers = {workers}`\. Pass how many threads"):
        partialot.ExactLP(workers=workers)


class Terminal(StringIO):
    """A standard error that says it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


def shown(monkeypatch: pytest.MonkeyPatch, stream: StringIO, patience: float) -> str:
    """What a batch writes to standard error."""
    monkeypatch.setattr(lp, "_PATIENCE", patience)
    monkeypatch.setattr(sys, "stderr", stream)
    partialot.solve(costs(30), solver=partialot.ExactLP(workers=2))
    return stream.getvalue()


def test_a_long_batch_shows_its_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    assert "exact transport" in shown(monkeypatch, Terminal(), patience=0.0)


def test_a_short_batch_and_a_log_file_show_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, Terminal(), patience=60.0) == ""
    assert shown(monkeypatch, StringIO(), patience=0.0) == ""


def test_progress_is_no_dependency(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert shown(monkeypatch, Terminal(), patience=0.0) == ""
