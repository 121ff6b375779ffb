"""Sweeps made by one call: where they end, everything is as it is after as many made one by one."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import partialot
from partialot.augmentation import add_dummy_nodes
from partialot.kernels import cpu, dispatch, native
from partialot.kernels.primitives import RowSums
from partialot.problem import Problem
from partialot.solvers.ahead import sum_rows
from partialot.solvers.annealing import STEPPING
from partialot.solvers.loop import Loop
from partialot.solvers.newton import Newton
from tests.partialot.solvers.test_acceleration import clusters

needs_native = pytest.mark.skipif(native.library() is None, reason="only native kernels sweep ahead")
MASSES = [None, 0.6, partialot.Price(0.8)]
NAMES = ["balanced", "partial", "priced"]


def loop_of(
    cost: Tensor, mass: float | partialot.Price | None, *, tol: float = 1e-9, sweeps: int = 5000, relaxed: bool = True
) -> Loop:
    problem = add_dummy_nodes(Problem.from_inputs(cost, mass=mass, reg=0.05))
    return Loop(problem, None, tol, over_relaxation=relaxed, annealing=True, sweeps=sweeps, schedule=STEPPING)


def one_by_one(loop: Loop, newton: Newton | None, sweeps: int) -> RowSums:
    """Sweep by the definition, and sum the rows once more."""
    for _ in range(sweeps):
        if newton is not None:
            newton.choose(loop)
        rows = loop.sum_rows()
        loop.judge(rows)
        loop.update(rows)
    if newton is not None:
        newton.choose(loop)
    return loop.sum_rows()


@needs_native
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("relaxed", [True, False], ids=["relaxed", "plain"])
@pytest.mark.parametrize("steps", [True, False], ids=["stepping", "sweeping"])
@pytest.mark.parametrize("mass", MASSES, ids=NAMES)
def test_all_that_is_known_after_a_stretch_is_what_sweeps_one_by_one_find(
    mass: float | partialot.Price | None, steps: bool, relaxed: bool, dtype: torch.dtype
) -> None:
    cost, accuracy = clusters(30, 40).to(dtype), 1e-5 if dtype is torch.float32 else 1e-8
    ahead, by_hand = (loop_of(cost, mass, tol=1e-6, relaxed=relaxed) for _ in range(2))
    newtons = [Newton(loop.mass, 5000, STEPPING.step) if steps else None for loop in (ahead, by_hand)]
    for _ in range(3):
        before = int(ahead.made)
        rows = sum_rows(ahead, newtons[0])
        expected = one_by_one(by_hand, newtons[1], int(ahead.made) - before)
        assert_close(rows, expected, rtol=accuracy, atol=accuracy)
        assert_close(ahead.iterate, by_hand.iterate, rtol=accuracy, atol=accuracy)
        assert_close(ahead.relaxation.pace, by_hand.relaxation.pace, rtol=1e-3, atol=accuracy)
        assert_close((ahead.best, ahead.stalled), (by_hand.best, by_hand.stalled), rtol=1e-3, atol=accuracy)
        assert ahead.annealing.pending == by_hand.annealing.pending
        if by_hand.annealing.pending:
            assert_close(ahead.annealing.watch, by_hand.annealing.watch, rtol=1e-3, atol=accuracy)
        for loop, sums in ((ahead, rows), (by_hand, expected)):
            loop.judge(sums)
        assert ahead.running == by_hand.running
        if not bool(ahead.running):
            break
        for loop, sums in ((ahead, rows), (by_hand, expected)):
            loop.update(sums)
    assert int(ahead.made) > 6


@needs_native
def test_a_stretch_makes_no_more_sweeps_than_are_left() -> None:
    loop = loop_of(clusters(), None, sweeps=7)
    sum_rows(loop, None)
    assert int(loop.made) == 7


@needs_native
def test_a_stretch_ends_before_the_sweep_that_nothing_is_left_to_do_for() -> None:
    loop = loop_of(torch.rand(20, 30), 0.5, tol=1e-3)
    loop.judge(sum_rows(loop, None))
    assert not bool(loop.running)
    assert loop.error <= 1e-3
    made = int(loop.made)
    fewer = loop_of(loop.problem.problem.flat_cost(slice(None))[0], 0.5, tol=1e-3, sweeps=made - 1)
    fewer.judge(sum_rows(fewer, None))
    assert fewer.error > 1e-3


@needs_native
def test_problems_that_do_not_run_are_left_as_they_are() -> None:
    loop = loop_of(clusters().repeat(3, 1, 1), None)
    loop.running = torch.tensor([True, False, True])
    before = loop.iterate
    sum_rows(loop, None)
    assert loop.made.tolist()[1] == 0
    assert min(loop.made[loop.running].tolist()) > 0
    for now, then in zip(loop.iterate, before, strict=True):
        assert torch.equal(now[1], then[1])


@needs_native
def test_columns_out_of_range_end_a_stretch_before_the_sweep_they_belong_to() -> None:
    """A target so dear that its first sum is 0 in float32: the sweep is made with its largest term divided out."""
    cost = torch.rand(20, 30)
    cost[:, 3] += 20.0
    loop = loop_of(cost, None)
    rows = sum_rows(loop, None)
    assert int(loop.made) == 0
    loop.judge(rows)
    loop.update(rows)
    assert loop.f.isfinite().all()
    assert loop.g.isfinite().all()


@needs_native
def test_an_easy_solve_is_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    judged, judge = [], Loop.judge

    def count(loop: Loop, rows: RowSums) -> None:
        judged.append(int(loop.made))
        judge(loop, rows)

    monkeypatch.setattr(Loop, "judge", count)
    solution = partialot.solve(torch.rand(50, 60), mass=0.5, reg=0.05, solver=partialot.Sinkhorn(tol=1e-3))
    assert judged == [int(solution.n_iter)]
    assert solution.n_iter > 2


@pytest.mark.parametrize("mass", MASSES, ids=NAMES)
def test_without_kernels_that_sweep_ahead_a_solve_gives_the_same_answer(
    monkeypatch: pytest.MonkeyPatch, mass: float | partialot.Price | None
) -> None:
    cost = clusters(30, 40)
    ahead = partialot.solve(cost, mass=mass, reg=0.05)

    monkeypatch.setattr(cpu, "available", lambda matrix: False)
    one_by_one = partialot.solve(cost, mass=mass, reg=0.05)
    # Where sweeps are dear, steps come earlier: the way is another, the plan is not.
    assert ahead.converged
    assert one_by_one.converged
    assert_close(ahead.plan, one_by_one.plan, rtol=0.0, atol=1e-8)


@needs_native
def test_no_call_reads_more_than_can_be_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = clusters(30, 40)
    whole = partialot.solve(cost, reg=0.05)
    monkeypatch.setattr(dispatch, "longest_stretch", lambda device, entries: 3 * 31 * 41 // entries)
    loop = loop_of(cost, None)
    sum_rows(loop, None)
    assert int(loop.made) == 3
    cut = partialot.solve(cost, reg=0.05)
    assert abs(int(cut.n_iter - whole.n_iter)) <= 2
    assert_close(cut.plan, whole.plan, rtol=0.0, atol=1e-9)
