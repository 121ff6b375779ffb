"""Stretches of sweeps by the kernels in Triton, against those by native kernels, and against sweeps one by one."""

from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import partialot
from partialot.augmentation import add_dummy_nodes
from partialot.kernels import cpu, dispatch, native, reference
from partialot.kernels.border import measure, update
from partialot.kernels.points import CloudKernels, Points
from partialot.kernels.primitives import Marginals, RowSums, Source
from partialot.kernels.stretch import Kernels, Limits, Rules, State, Stretch, pass_at
from partialot.problem import Problem
from partialot.solvers.acceleration import Relaxation
from partialot.solvers.ahead import sum_rows
from partialot.solvers.loop import Loop
from tests.partialot.kernels.on_device import DEVICE, MARKS, triton_kernels

pytestmark = [*MARKS, pytest.mark.skipif(native.library() is None, reason="no C++ compiler with OpenMP was found")]
MASSES = {"balanced": None, "partial": 0.6, "priced": partialot.Price(0.8)}
ACCURACY = {torch.float32: 1e-5, torch.float64: 1e-10}
inf = torch.inf


class Asked(NamedTuple):
    """What a stretch is asked for."""

    kernels: Kernels
    marginals: Marginals
    state: State
    limits: Limits
    rules: Rules

    def only(self, p: int) -> "Asked":
        """One problem of the batch."""
        return Asked(*(_only(part, p) for part in self))


def _only(part: Any, p: int) -> Any:
    if isinstance(part, Tensor):
        return part[p : p + 1]
    if isinstance(part, tuple):
        return type(part)(*(_only(x, p) for x in part))
    if isinstance(part, Rules | bool | None):
        return part
    return type(part)(**{name: _only(x, p) for name, x in vars(part).items()})


@pytest.fixture(params=["large", "small"])
def served(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Small problems by their own kernel, or as larger ones are."""
    from partialot.kernels.triton import stretch_small

    if request.param == "large":
        monkeypatch.setattr(stretch_small, "fits", lambda _: False)
    return request.param


def asked(
    monkeypatch: pytest.MonkeyPatch,
    cost: Tensor,
    mass: float | partialot.Price | None,
    *,
    sweeps: int = 5,
    reg: float = 0.2,
) -> Asked:
    """What the solver asks of the first stretch; every problem has a node of weight 0 on both sides."""
    a, b = (torch.rand(len(cost), size, dtype=torch.float64) + 0.2 for size in cost.shape[1:])
    a[:, 2], b[:, 1] = 0.0, 0.0
    weights = ((x / x.sum(-1, keepdim=True)).to(cost.dtype) for x in (a, b))
    problem = add_dummy_nodes(Problem.from_inputs(cost, *weights, mass=mass, reg=reg))
    taken: list[Asked] = []
    with monkeypatch.context() as patch:
        patch.setattr(dispatch, "gains_by_storing", lambda _: False)
        patch.setattr(dispatch, "stretch", lambda *given: taken.append(Asked(*given)) or cpu.stretch(*given))
        sum_rows(Loop(problem, None, 1e-6, over_relaxation=True, annealing=True, sweeps=sweeps), None)
    return taken[0]


def costs(batch: int, n: int, m: int, dtype: torch.dtype) -> Tensor:
    """Costs with forbidden pairs, columns together in memory."""
    cost = torch.rand(batch, m, n, dtype=torch.float64).to(dtype).mT
    cost[torch.rand(batch, n, m) < 0.1] = inf
    return cost


def assert_same(found: Stretch, expected: Stretch, accuracy: float) -> None:
    assert_close(found.made, expected.made)
    assert_close(found.rows, expected.rows, rtol=accuracy, atol=accuracy)
    assert_close(found.state.iterate, expected.state.iterate, rtol=accuracy, atol=accuracy)
    for one, other in zip(found.state[1:], expected.state[1:], strict=True):
        # Contractions are quotients of violations that are minute.
        assert_close(one, other, rtol=1e3 * accuracy, atol=accuracy, equal_nan=True)


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize(
    ("mass", "dtype"),
    [*((mass, torch.float32) for mass in MASSES), *((mass, torch.float64) for mass in ("partial", "priced"))],
    ids=str,
)
def test_a_stretch_is_what_native_kernels_make_of_it(
    mass: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = asked(monkeypatch, costs(2, 17, 37, dtype), MASSES[mass], sweeps=6)
    found = triton_kernels.stretch(*given)
    assert_same(found, cpu.stretch(*given), ACCURACY[dtype])
    assert found.made.tolist() == [6.0, 6.0]


@pytest.mark.usefixtures("served")
def test_a_stretch_is_as_many_sweeps_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    given = asked(monkeypatch, costs(1, 9, 12, torch.float32), 0.9, sweeps=5)
    at, relaxation = given.state.iterate, Relaxation(given.state.iterate.mass)
    running = torch.tensor([True])
    for made in range(6):
        omega = relaxation.omega
        rows = reference.row_pass(
            *pass_at(given.kernels, given.marginals, State(at, relaxation.pace, *given.state[2:]))
        )
        if made == 5:
            break
        judged = measure(given.marginals, at, rows)
        at, wild = update(given.marginals, at, rows, None, judged.edge, omega, running, torch.float32)
        assert not bool(wild)
        relaxation.observe(judged.error)
    found = triton_kernels.stretch(*given)
    assert_close(found.rows, rows, rtol=1e-5, atol=1e-5)
    assert_close(found.state.iterate, at, rtol=1e-5, atol=1e-5)
    assert_close(found.state.pace, relaxation.pace, rtol=1e-2, atol=1e-5)


REASONS = ["limit", "violation", "floor", "stalling", "columns", "asleep", "reach", "rest"]
MADE = [1.0, 2.0, 0.0, 1.0, 0.0, 0.0, 2.0, 1.0]
"""Why each problem of a batch stops, the limit being four sweeps for the others, and after how many sweeps."""


def stopping(monkeypatch: pytest.MonkeyPatch) -> tuple[Asked, Stretch]:
    """A batch in which each problem stops for a reason of its own, and what native kernels make of it."""
    cost = costs(len(REASONS), 17, 20, torch.float32)
    # Its first sum is 0 in float32: no pass by itself can tell the column's potential.
    cost[4, :, 3] = 30.0
    given = asked(monkeypatch, cost, None, sweeps=4)
    place, limits, watch = {name: k for k, name in enumerate(REASONS)}, given.limits, given.state.watch
    limits.sweeps[place["limit"]] = 1
    limits.tol[place["violation"]] = 0.05
    limits.floor[:] = 0.0
    limits.floor[place["floor"]], given.state.progress.stalled[place["floor"]] = inf, 49.0
    given.state.progress.best[place["floor"]] = 1e-9
    watch.watched[:] = 0.0
    watch.watched[place["stalling"]], watch.age[place["stalling"]], watch.probed[place["stalling"]] = 1.0, 14.0, 1e-3
    given.kernels.source[place["asleep"]] = int(Source.NOTHING)
    given.state.progress.travelled[:], limits.settled[:] = 0.0, -inf
    limits.reach[place["reach"]], limits.settled[place["rest"]] = 2.7, 0.5
    given = given._replace(rules=replace(given.rules, rough=0.0))
    return given, cpu.stretch(*given)


@pytest.mark.usefixtures("served")
def test_each_problem_stops_for_its_own_reason_and_has_the_numbers_that_it_has_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given, expected = stopping(monkeypatch)
    assert expected.made.tolist() == MADE
    found = triton_kernels.stretch(*given)
    running = given.kernels.source != Source.NOTHING
    one, other = (each._replace(rows=_some(each.rows, running)) for each in (found, expected))
    assert_same(one, other, 1e-5)
    for p in range(len(REASONS)):
        alone = triton_kernels.stretch(*given.only(p))
        assert_identical(alone.state.iterate, _some(found.state.iterate, [p]))
        assert_identical(alone.state.pace, _some(found.state.pace, [p]))
        if running[p]:
            assert_identical(alone.rows, _some(found.rows, [p]))


def assert_identical(one: Any, other: Any) -> None:
    assert_close(one, other, rtol=0.0, atol=0.0, equal_nan=True)


def _some(record: Any, chosen: Tensor | list[int]) -> Any:
    return type(record)(*(x[chosen] for x in record))


@pytest.mark.usefixtures("served")
def test_potentials_may_begin_any_way_from_where_they_are_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums over rows begin at exp(-2000), and potentials go further than a kernel can be scaled to."""
    given = asked(monkeypatch, 40 + torch.rand(2, 17, 20), None, sweeps=4, reg=0.02)
    found, expected = triton_kernels.stretch(*given), cpu.stretch(*given)
    assert expected.made.tolist() == [4.0, 4.0]
    assert_same(found, expected, 2e-5)
    assert (found.state.iterate.g - given.state.iterate.g).abs().max() > 8


@pytest.mark.usefixtures("served")
def test_a_problem_of_one_pair_and_costs_of_half_precision_are_swept_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for size, kind in (((1, 3, 2), torch.float16), ((2, 5, 3), torch.bfloat16)):
        given = asked(monkeypatch, torch.rand(size).to(kind).float(), 0.5, sweeps=2)
        prices = replace(given.kernels.prices, cost=given.kernels.prices.cost.to(kind))
        found = triton_kernels.stretch(replace(given.kernels, prices=prices), *given[1:])
        assert_same(found, cpu.stretch(*given), 1e-5)


def test_the_host_launches_no_more_sweeps_than_may_be_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    from partialot.kernels.triton import stretch_large

    monkeypatch.setattr(stretch_large, "MOST", 2)
    given = asked(monkeypatch, costs(1, 9, 12, torch.float64), 0.9)
    assert triton_kernels.stretch(*given).made == 2
    given.limits.sweeps[:] = 1.0
    assert triton_kernels.stretch(*given).made == 1
    given.kernels.source[:] = int(Source.NOTHING)
    assert triton_kernels.stretch(*given).made == 0


def test_problems_are_small_up_to_128_nodes_a_side_in_single_precision() -> None:
    from partialot.kernels.triton import stretch_small

    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        assert stretch_small.fits(torch.empty(2, 128, 128, dtype=dtype))
    for size, dtype in (((2, 129, 5), torch.float32), ((2, 5, 129), torch.float32), ((2, 5, 5), torch.float64)):
        assert not stretch_small.fits(torch.empty(size, dtype=dtype))


def test_rows_too_long_for_a_program_are_passed_over_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from partialot.kernels.triton import rows, stretch_small

    given = asked(monkeypatch, costs(1, 9, 12, torch.float32), 0.9)
    expected = reference.row_pass(*pass_at(given.kernels, given.marginals, given.state))
    for module in (rows, stretch_small):
        monkeypatch.setattr(module, "fits", lambda _: False)
    found = triton_kernels.stretch(*given)
    assert found.made == 0
    assert_close(found.rows, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("cost", "d"), [("sqeuclidean", 2), ("cosine", 12)])
def test_a_stretch_between_points_is_that_of_the_costs_they_stand_for(
    monkeypatch: pytest.MonkeyPatch, cost: str, d: int
) -> None:
    """Also where a problem stops earlier, and keeps what its last pass found."""
    geometry = partialot.PointCloud(torch.rand(2, 17, d), torch.rand(2, 37, d) + 0.3, cost, storage="blocks").prepare()
    given = asked(monkeypatch, geometry.matrix().detach(), 0.6, reg=0.05)
    given.limits.sweeps[0] = 2.0
    cloud, prices = geometry.cloud(), given.kernels.prices
    assert cloud is not None
    kernels = CloudKernels(Points.of(cloud), prices.unit, prices.shift, given.kernels.source)
    found, expected = triton_kernels.cloud_stretch(kernels, *given[1:]), cpu.stretch(*given)
    assert expected.made.tolist() == [2.0, 5.0]
    assert_same(found, expected, 2e-5)


@pytest.mark.usefixtures("by_triton", "served")
def test_an_easy_solve_is_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    judged, judge = [], Loop.judge

    def count(loop: Loop, rows: RowSums) -> None:
        judged.append(int(loop.made))
        judge(loop, rows)

    monkeypatch.setattr(Loop, "judge", count)
    solver = partialot.Sinkhorn(tol=1e-3, annealing=False)
    solution = partialot.solve(torch.rand(9, 12, device=DEVICE), mass=0.5, reg=0.2, solver=solver)
    assert bool(solution.converged)
    assert judged == [int(solution.n_iter)]
    assert solution.n_iter > 2
