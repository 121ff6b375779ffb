"""Rows of high precision: marginals at a small `reg`, and a certified gap."""

import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from bench_gap import by_pot
from comparison import LIMIT, in_turns, make_ready, title
from judging import find_fault
from timing import gather
from torch import Tensor
from workload import Workload

import partialot
from gpu import offered
from gpu.bench import Bench
from gpu.floors import dense_pass
from gpu.outcome import Comparison, Figure, Outcome, Ratio
from partialot.solvers import AnnealedLP

ERROR = 1e-6
"""Violation of the precise solve."""

_SECONDS = 15.0


def small_reg(bench: Bench, target: float) -> Iterator[Outcome]:
    """Marginals to 1e-6 where the largest cost is thousands of times `reg`.

    Args:
        bench: Where it is measured.
        target: Milliseconds.
    """
    workload = Workload(1, bench.sizes.precise, None, 1.0, ERROR)
    cost = workload.cost().to(bench.device)
    workload = replace(workload, reg=float(cost.max()) / bench.sizes.ratio)
    solver = partialot.Sinkhorn(max_iter=20_000, tol=ERROR)
    solve = partial(_quietly, cost, workload.reg, solver)
    solution = solve()
    fault = find_fault(solution.plan, None, workload)
    what = f"{bench.sizes.precise:,} nodes, largest cost {bench.sizes.ratio:,.0f} × reg, marginals to {ERROR:g}"
    reads = int(solution.n_iter.max())
    yield Ratio(f"{what}: sweeps and products", float(reads))
    if fault is None:
        times = gather({what: partial(bench.wall, solve)}, bench.rounds, "precise solve", _SECONDS)
        floor = reads * dense_pass(bench.ceilings, cost.numel())
        yield Figure(what, times[what], floor, f"{reads:,} reads of the prices", target)
    methods = {name: one for name, one in offered.matrices(workload, bench.device).items() if not one.stops}
    entries = {name: make_ready(cost, workload, one, None, 48, bench.wall) for name, one in methods.items()}
    rows = in_turns(entries, set(), bench.rounds, title(workload), bench.place)
    ours = {"iterations": reads, "fault": fault} | (times[what] if fault is None else {})
    yield Comparison(what, {"partialot": ours} | rows)


def certified(bench: Bench, target: float) -> Iterator[Outcome]:
    """A certified gap, on the card and by the network simplex on the CPU.

    Args:
        bench: Where it is measured.
        target: Milliseconds.
    """
    cost = Workload(1, bench.sizes.precise, None, 1.0, ERROR).cost()[0].double()
    weights = torch.full((len(cost),), 1 / len(cost), dtype=torch.float64)
    there, gap = cost.to(bench.device), bench.sizes.gap
    what = f"{len(cost):,} nodes, balanced, certified to a gap of {gap:g} of the value"
    ways = {
        "partialot, sweeps on the card alone": AnnealedLP(tol_gap=gap, simplex_after=None, max_iter=LIMIT),
        "partialot, finished by the simplex": AnnealedLP(tol_gap=gap),
        "partialot, ExactLP (CPU)": partialot.ExactLP(),
    }
    rows: dict[str, dict[str, Any]] = {}
    for name, solver in ways.items():
        prices = cost if isinstance(solver, partialot.ExactLP) else there
        rows[name] = _certify(prices, solver, gap)
    simplex = by_pot(cost, weights, None)
    rows["POT network simplex (CPU)"] = {"fault": None, "median_ms": 1e3 * simplex["seconds"]}
    right = [row for row in list(rows.values())[:2] if row["fault"] is None]
    if right:
        best = min(right, key=lambda row: float(row["median_ms"]))
        times = {key: float(best["median_ms"]) for key in ("median_ms", "low_ms", "high_ms")}
        reads = int(best["iterations"])
        floor = reads * dense_pass(bench.ceilings, cost.numel())
        yield Figure(f"{what}, once", times, floor, f"{reads:,} reads of the prices in float32", target)
    yield Comparison(f"{what}, each once", rows)


def _certify(cost: Tensor, solver: AnnealedLP | partialot.ExactLP, gap: float) -> dict[str, Any]:
    """Solve once, to judge the gap by the certificate and not by what the solver says."""
    begin = time.perf_counter()
    solution = _quietly(cost, None, solver)
    value = float(solution.value)
    taken = 1e3 * (time.perf_counter() - begin)
    proved = solution.certificate()
    found = float(proved.gap) / max(abs(float(proved.primal)), 1e-300)
    row: dict[str, Any] = {"iterations": int(solution.n_iter), "value": value, "gap": found}
    # What the certificate's own roundings add is no fault of a solver that met its gap.
    return row | ({"fault": None, "median_ms": taken} if found <= 2 * gap else {"fault": f"gap {found:.2g}"})


def _quietly(
    cost: Tensor, reg: float | None, solver: partialot.Sinkhorn | AnnealedLP | partialot.ExactLP
) -> partialot.Solution:
    with warnings.catch_warnings():
        # What is not reached is found in the solution.
        warnings.simplefilter("ignore", partialot.ConvergenceWarning)
        return partialot.solve(cost, reg=reg, solver=solver)
