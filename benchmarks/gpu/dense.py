"""Rows over stored prices: passes beside their floor, memory, partial beside balanced, and whole solves."""

from collections.abc import Callable, Iterator
from functools import partial

from comparison import LIMIT, compare, raised, title
from timing import gather
from torch import Tensor
from workload import Workload

import partialot
from gpu import offered
from gpu.bench import REG, Bench, Shape
from gpu.card import most_held
from gpu.floors import dense_pass, small_solve
from gpu.outcome import Comparison, Figure, Outcome, Ratio
from gpu.sweeps import Sweep, between, sweep

ERROR = 1e-3
"""Violation that whole solves go to."""

_READ = "each price read once, one exponential of it"
_SECONDS = 8.0
"""That the turns of one table may take."""


def passes(bench: Bench, shape: Shape, target: float) -> Iterator[Outcome]:
    """One full iteration: by itself, within a solve, and of the peers.

    Args:
        bench: Where it is measured.
        shape: Of the batch.
        target: Milliseconds of a pass.
    """
    workload = Workload(*shape, None, REG, ERROR)
    cost = workload.cost().to(bench.device)
    one = Sweep.of(cost, None, REG)
    counts = bench.sizes.sweeps
    ours = {
        "a pass over the costs": partial(bench.cold, one.over_rows),
        "a sweep: pass, judgement, update": partial(bench.cold, one.whole),
        "a sweep within `solve`": between(partial(sweep, cost, None, REG), counts, bench.wall),
    }
    peers, faults = _iterations(bench, workload, cost)
    times = gather(ours | peers, bench.rounds, f"{shape[0]} × {shape[1]}², an iteration", _SECONDS)
    floor = dense_pass(bench.ceilings, cost.numel())
    for name in ours:
        yield Figure(f"{shape[0]} × {shape[1]}², {name}", times[name], floor, _READ, target)
    rows = {"partialot": {"fault": None, **times["a sweep within `solve`"]}}
    rows |= {name: {"fault": None, **times[name]} for name in peers}
    yield Comparison(f"{shape[0]} × {shape[1]}², balanced, one full iteration", rows | faults)


def memory(bench: Bench, shape: Shape, target: float) -> Iterator[Outcome]:
    """What a solve holds at most beside the costs.

    Args:
        bench: Where it is measured.
        shape: Of the batch.
        target: What sweeps hold, in matrices of costs.
    """
    cost = Workload(*shape, None, REG, ERROR).cost().to(bench.device)
    one, size = Sweep.of(cost, None, REG), 4.0 * cost.numel()
    size_of = f"{shape[0]} × {shape[1]}², most memory beside the costs, in matrices of costs"
    yield Ratio(f"{size_of}: a sweep", most_held(one.whole, bench.device) / size, target)
    held = most_held(partial(sweep, cost, None, REG, bench.sizes.sweeps[0]), bench.device)
    yield Ratio(f"{size_of}: a solve, whose plan is one", held / size)


def partial_beside_balanced(bench: Bench, shape: Shape, target: float) -> Iterator[Outcome]:
    """What the dummies cost.

    Args:
        bench: Where it is measured.
        shape: Of the batch.
        target: The part of a pass that they may add.
    """
    cost = Workload(*shape, None, REG, ERROR).cost().to(bench.device)
    masses = {"balanced": None, "partial": 0.3}
    ones = {name: Sweep.of(cost, mass, REG) for name, mass in masses.items()}
    floor = dense_pass(bench.ceilings, cost.numel())
    for part in ("over_rows", "whole"):
        what = {"over_rows": "a pass over the costs", "whole": "a sweep: pass, judgement, update"}[part]
        measures = {name: partial(bench.cold, getattr(one, part)) for name, one in ones.items()}
        times = gather(measures, 3 * bench.rounds, f"partial beside balanced, {what}", _SECONDS)
        for name in measures:
            yield Figure(f"{shape[0]} × {shape[1]}², {name}, {what}", times[name], floor, _READ)
        added = times["partial"]["median_ms"] / times["balanced"]["median_ms"] - 1
        yield Ratio(f"{what}: what partial adds to balanced, as a part", added, target)


def solves(bench: Bench, shape: Shape, masses: tuple[float | None, ...]) -> Iterator[Outcome]:
    """Whole solves to the same violation, beside the peers.

    Args:
        bench: Where it is measured.
        shape: Of the batch.
        masses: To move; None = balanced.
    """
    guesses: dict[str, int] = {}
    for mass in masses:
        workload = Workload(*shape, mass, REG, ERROR)
        methods = offered.matrices(workload, bench.device)
        yield Comparison(title(workload), compare(workload, methods, bench.rounds, guesses, bench.place))


def small(bench: Bench, shape: Shape, targets: tuple[float, float]) -> Iterator[Outcome]:
    """Many small problems, whole solves.

    Args:
        bench: Where it is measured.
        shape: Of the batch.
        targets: Milliseconds on the card, and on the wall.
    """
    workload = Workload(*shape, None, REG, ERROR)
    cost, method = workload.cost().to(bench.device), offered.matrices(workload, bench.device)["partialot"]
    run = partial(method.prepare(cost, workload), LIMIT)
    run()
    measures = {"on the card": partial(bench.cold, run), "on the wall": partial(bench.wall, run)}
    times = gather(measures, 3 * bench.rounds, "small solves", _SECONDS)
    solution = partialot.solve(cost, reg=REG, solver=partialot.Sinkhorn(tol=ERROR, max_iter=LIMIT))
    sweeps = float(solution.n_iter.double().mean())
    floor = small_solve(bench.ceilings, cost.numel(), sweeps)
    made_of = f"one launch, one read, {sweeps:.0f} exponentials of each entry"
    for name, target in zip(measures, targets, strict=True):
        yield Figure(f"{shape[0]} × {shape[1]}², a whole solve, {name}", times[name], floor, made_of, target)
    yield from solves(bench, shape, (None,))


def _iterations(
    bench: Bench, workload: Workload, cost: Tensor
) -> tuple[dict[str, Callable[[], float]], dict[str, dict[str, str]]]:
    """Give what measures an iteration of each peer, and what those raised that cannot be run."""
    measures, faults = {}, {}
    for name, method in offered.matrices(workload, bench.device).items():
        if method.stops:
            continue
        try:
            run = method.prepare(cost, workload)
            for count in bench.sizes.sweeps:
                # The first run of a count compiles.
                run(count)
            measures[name] = between(run, bench.sizes.sweeps, bench.wall)
        except Exception as error:
            faults[name] = {"fault": raised(error)}
    return measures, faults
