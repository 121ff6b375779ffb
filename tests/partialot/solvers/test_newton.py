"""Newton steps: the same plan as sweeps alone, in far fewer reads of the matrix where sweeps crawl."""

from functools import cache

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import partialot
from partialot.augmentation import add_dummy_nodes
from partialot.kernels import cpu, dispatch, native
from partialot.problem import Problem
from partialot.solvers.annealing import STEPPING, Annealing
from partialot.solvers.loop import Loop
from partialot.solvers.newton import Newton

ALONE = partialot.Sinkhorn(max_iter=3000, tol=1e-7, newton=False)
WITH_STEPS = partialot.Sinkhorn(max_iter=3000, tol=1e-7)


@pytest.fixture(params=["native", "plain", "evaluated"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products with stored kernels, or, as on a GPU, with what is evaluated from the costs at every read."""
    if request.param == "plain":
        monkeypatch.setattr(cpu, "available", lambda matrix: False)
    elif native.library() is None:
        pytest.skip("no C++ compiler with OpenMP was found, so there are no native kernels to test")
    if request.param == "evaluated":
        monkeypatch.setattr(dispatch, "gains_by_storing", lambda matrix: False)
        monkeypatch.setattr(dispatch, "multiplies", lambda matrix: True)


def noise(n: int = 40, m: int = 40, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(n, m, dtype=dtype)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("mass", [None, 0.9, 0.5])
def test_steps_find_the_plan_that_sweeps_find(mass: float | None) -> None:
    cost, reg = noise(), 0.01
    alone, stepping = (partialot.solve(cost, mass=mass, reg=reg, solver=solver) for solver in (ALONE, WITH_STEPS))
    assert stepping.converged
    assert_close(stepping.plan, alone.plan, rtol=0.0, atol=1e-6)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("price", [0.3, 0.8])
def test_steps_find_what_pays_where_sweeps_alone_crawl(price: float) -> None:
    """The oracle is the balanced problem with the dummies written out, whose pair is a pair like any other."""
    cost, reg = noise(30, 40), 0.01
    solution = partialot.solve(cost, mass=partialot.Price(price), reg=reg, solver=WITH_STEPS)
    assert solution.converged
    a, b = (torch.tensor([*[1 / k] * k, 1.0], dtype=torch.float64) for k in (30, 40))
    bordered = torch.nn.functional.pad(cost - price, (0, 1, 0, 1))
    oracle = partialot.solve(bordered, a, b, reg=reg, solver=WITH_STEPS)
    assert oracle.converged
    assert_close(solution.plan, oracle.plan[:-1, :-1], rtol=0.0, atol=1e-6)
    swept = partialot.Sinkhorn(max_iter=int(solution.n_iter), tol=1e-7, newton=False)
    with pytest.warns(partialot.ConvergenceWarning, match="constraint violation"):
        partialot.solve(cost, mass=partialot.Price(price), reg=reg, solver=swept)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_balanced_plans_near_a_matching_are_reached_where_sweeps_alone_crawl(dtype: torch.dtype) -> None:
    cost = noise(60, 60, dtype)
    tol = {torch.float32: 1e-5, torch.float64: 1e-9}[dtype]
    solution = partialot.solve(cost, reg=1e-3, solver=partialot.Sinkhorn(max_iter=3000, tol=tol))
    assert solution.converged
    assert solution.marginal_error <= 2 * tol
    with pytest.warns(partialot.ConvergenceWarning):
        partialot.solve(cost, reg=1e-3, solver=partialot.Sinkhorn(max_iter=int(solution.n_iter), tol=tol, newton=False))


def test_small_problems_are_swept_on_where_larger_ones_would_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is decided by hundreds of small operations, a sweep of 60 × 60 nodes is a few microseconds."""
    asked: list[int] = []
    monkeypatch.setattr("partialot.solvers.newton.conjugate_gradient", lambda *_, **__: asked.append(1))
    if native.library() is None:
        pytest.skip("without native kernels sweeps are dear, and steps come early")
    solution = partialot.solve(noise(60, 60), mass=0.95, reg=0.008, solver=partialot.Sinkhorn(tol=1e-6))
    assert solution.converged
    assert solution.n_iter > STEPPING.step
    assert not asked


def test_products_count_as_sweeps_and_respect_their_limit() -> None:
    cost = noise(60, 60)
    for limit in (50, 120, 200):
        solver = partialot.Sinkhorn(max_iter=limit, tol=1e-13)
        with pytest.warns(partialot.ConvergenceWarning):
            solution = partialot.solve(cost, reg=1e-4, solver=solver)
        assert int(solution.n_iter) == limit


def test_a_problem_in_a_batch_takes_the_steps_it_takes_alone() -> None:
    cost, reg = torch.stack([noise(), noise(), 10 * noise()]), torch.tensor([0.004, 0.5, 0.02], dtype=torch.float64)
    batch = partialot.solve(cost, reg=reg, solver=WITH_STEPS)
    for index in range(3):
        single = partialot.solve(cost[index], reg=reg[index], solver=WITH_STEPS)
        assert single.n_iter == batch.n_iter[index]
        assert torch.equal(single.plan, batch.plan[index])


def test_steps_work_around_forbidden_pairs_empty_nodes_and_unequal_totals() -> None:
    cost = noise(30, 50)
    cost[torch.rand(30, 50) < 0.2] = torch.inf
    a, b = torch.rand(30, dtype=torch.float64), 3 * torch.rand(50, dtype=torch.float64)
    a[3] = b[7] = 0.0
    mass = 0.9 * a.sum().item()
    alone, stepping = (
        partialot.solve(cost, a, b, mass=mass, reg=0.005, solver=solver) for solver in (ALONE, WITH_STEPS)
    )
    assert stepping.converged
    assert stepping.n_iter <= alone.n_iter
    assert_close(stepping.plan, alone.plan, rtol=0.0, atol=1e-5)


@cache
def clusters() -> Tensor:
    """Cosine costs between clusters of unequal mass, whose coupling has to shift as a whole."""
    generator = torch.Generator().manual_seed(0)
    centres, sides = torch.randn(8, 32, dtype=torch.float64, generator=generator), []
    for count in (200, 260):
        noise = 0.3 * torch.randn(count, 32, dtype=torch.float64, generator=generator)
        features = centres[torch.randint(8, (count,), generator=generator)] + noise
        sides.append(torch.nn.functional.normalize(features, dim=-1))
    return 1 - sides[0] @ sides[1].mT


@pytest.mark.parametrize(("mass", "reads"), [(None, 260), (0.95, 360)])
def test_clusters_at_a_thousandth_of_the_range_take_a_fraction_of_the_reads(mass: float | None, reads: int) -> None:
    cost = clusters()
    reg = float(cost.max() - cost.min()) / 1000
    solution = partialot.solve(cost, mass=mass, reg=reg, solver=partialot.Sinkhorn(max_iter=reads, tol=1e-6))
    assert solution.converged
    assert (solution.plan.sum(0) - 1 / 260).clamp(min=0).sum() <= 1e-6
    with pytest.warns(partialot.ConvergenceWarning, match="constraint violation"):
        partialot.solve(cost, mass=mass, reg=reg, solver=partialot.Sinkhorn(max_iter=800, tol=1e-3, newton=False))


@pytest.mark.parametrize(("dtype", "tol"), [(torch.float32, 1e-5), (torch.float64, 1e-9)], ids=str)
def test_clusters_converge_where_costs_span_thousands_of_reg(dtype: torch.dtype, tol: float) -> None:
    cost = clusters().to(dtype)
    reg = float(cost.max() - cost.min()) / 4096
    solution = partialot.solve(cost, reg=reg, solver=partialot.Sinkhorn(max_iter=1000, tol=tol))
    assert solution.converged
    assert (solution.plan.double().sum(0) - 1 / 260).abs().sum() <= 2 * tol
    assert (solution.plan.double().sum(1) - 1 / 200).abs().sum() <= 2 * tol


@pytest.mark.parametrize("mass", [None, 0.95, 0.7])
def test_annealed_steps_end_at_the_plan_of_the_problem_itself(mass: float | None) -> None:
    cost, reg = clusters()[:60, :70], 0.01
    plain = partialot.Sinkhorn(max_iter=60_000, tol=1e-7, annealing=False, newton=False)
    stepping, swept = (partialot.solve(cost, mass=mass, reg=reg, solver=solver) for solver in (WITH_STEPS, plain))
    assert stepping.converged
    assert_close(stepping.plan, swept.plan, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("mass", [None, partialot.Price(0.8)], ids=["balanced", "priced"])
def test_no_read_lowers_the_dual_of_a_level(mass: partialot.Price | None) -> None:
    problem = add_dummy_nodes(Problem.from_inputs(clusters(), mass=mass, reg=0.005))
    loop = Loop(problem, None, 1e-8, over_relaxation=True, annealing=True, sweeps=1000, schedule=STEPPING)
    newton, before, unit, stepped = Newton(loop.mass, 1000, STEPPING.step), -torch.inf, loop.annealing.unit, 0
    while True:
        newton.choose(loop)
        rows = loop.sum_rows()
        loop.judge(rows)
        if not loop.running:
            break
        reads = int(loop.products)
        loop.update(newton.step(loop, rows))
        stepped += int(loop.products) > reads
        dual = float((loop.a.value * loop.f).sum() + (loop.b.value * loop.g).sum())
        # Potentials that were carried to another level are no update of anything.
        carried = bool(unit != loop.annealing.unit)
        assert carried or dual >= before - 1e-10
        before, unit = -torch.inf if carried else dual, loop.annealing.unit
    assert stepped > 5
    assert not loop.running


@pytest.mark.skipif(
    native.library() is None, reason="products of plain PyTorch may depend on the batch in the last bit"
)
def test_a_batch_whose_problems_are_annealed_at_different_times_takes_the_steps_each_takes_alone() -> None:
    cost = clusters()[:60, :70]
    reg = torch.tensor([0.2, 0.02, 0.006, 0.0006], dtype=torch.float64)
    batch = partialot.solve(cost, reg=reg, solver=WITH_STEPS)
    for index in range(4):
        single = partialot.solve(cost, reg=reg[index], solver=WITH_STEPS)
        assert single.n_iter == batch.n_iter[index]
        assert torch.equal(single.plan, batch.plan[index])


@pytest.mark.filterwarnings("ignore::partialot.ConvergenceWarning")
@pytest.mark.parametrize("limit", [20, 60, 120, 200])
def test_annealed_steps_end_within_the_reads_there_are(limit: int) -> None:
    cost = clusters()
    solution = partialot.solve(cost, reg=0.002, solver=partialot.Sinkhorn(max_iter=limit, tol=1e-12))
    f, g = solution.potentials
    assert solution.n_iter == limit
    assert_close(solution.plan, torch.exp((f[:, None] + g - cost) / 0.002) / (200 * 260), rtol=1e-6, atol=1e-12)


def test_a_support_forced_to_vanish_is_followed_to_its_limit() -> None:
    cost = torch.tensor([[0.0, 0.0], [torch.inf, 0.0]], dtype=torch.float64)
    half = torch.tensor([0.5, 0.5], dtype=torch.float64)
    solution = partialot.solve(cost, half, half, reg=0.1, solver=partialot.Sinkhorn(max_iter=200, tol=1e-9))
    assert solution.converged
    assert_close(solution.plan, torch.diag(half), rtol=0.0, atol=2e-9)


def test_problems_that_do_not_stall_take_no_step_and_lose_no_sweep() -> None:
    for mass, reg in ((0.7, 0.01), (None, 0.05)):
        sweeping = partialot.Sinkhorn(tol=1e-6, annealing=False, newton=False)
        cost = noise(80, 100)
        alone, able = (
            partialot.solve(cost, mass=mass, reg=reg, solver=solver)
            for solver in (sweeping, partialot.Sinkhorn(tol=1e-6))
        )
        assert able.n_iter == alone.n_iter
        assert torch.equal(able.plan, alone.plan)


def test_the_least_error_of_a_stuck_problem_has_it_annealed_late() -> None:
    bordered = add_dummy_nodes(Problem.from_inputs(clusters(), reg=0.001))
    annealing = Annealing(bordered, 5000, STEPPING, wanted=True)
    for sweep in range(1, 32):
        assert annealing.observe(torch.tensor([max(0.06, 0.8**sweep)], dtype=torch.float64)) == annealing.target
    unit = annealing.observe(torch.tensor([0.06], dtype=torch.float64))
    assert unit < annealing.target
