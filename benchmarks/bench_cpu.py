"""Time partial transport on the CPU: partialot and its peers, in one process, in turns.

Whole solves: every solver gets the same bordered problem and must reach the same constraint violation, measured here on
the plan it returns. The peers do not stop by that measure, so each runs the fewest iterations that reach it, found
beforehand and not timed, without any test of its own: to their advantage. Then the same with the backward pass of a
function of the plan. Runs are interleaved so that a busy machine slows all alike.

    python benchmarks/bench_cpu.py
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict

import ot
import peers
import torch
from record import arguments, keep
from torch import Tensor
from tqdm import tqdm
from workload import Workload, machine, violation

import partialot

WORKLOADS = (Workload(4, 900, 0.3, 0.05, 1e-3), Workload(256, 64, 0.5, 0.05, 1e-3), Workload(4, 3600, 0.3, 0.05, 1e-3))
"""Two images' features at two resolutions, and many small problems."""


def ours(cost: Tensor, workload: Workload) -> peers.Run:
    """partialot, which stops by itself at the violation asked for; its tests of it are timed."""

    def run(iterations: int) -> Tensor:
        solver = partialot.Sinkhorn(max_iter=iterations, tol=workload.error)
        return partialot.solve(cost, mass=workload.mass, reg=workload.reg, solver=solver).plan

    return run


def exact(cost: Tensor, workload: Workload) -> peers.Run:
    """The exact linear programme of every problem, one after the other, by POT: another problem, for the time only."""
    weights = torch.full((workload.nodes,), 1.0 / workload.nodes, dtype=torch.float64).numpy()
    matrices = cost.double().numpy()

    def run(iterations: int) -> Tensor:
        options = {"m": workload.mass, "numItermax": iterations}
        plans = [ot.partial.partial_wasserstein(weights, weights, one, **options) for one in matrices]
        return torch.stack([torch.as_tensor(plan) for plan in plans])

    return run


def own_iterations(cost: Tensor, workload: Workload) -> int:
    """Iterations that partialot takes before it stops by itself."""
    solver = partialot.Sinkhorn(tol=workload.error)
    return int(partialot.solve(cost, mass=workload.mass, reg=workload.reg, solver=solver).n_iter.max())


def fewest_iterations(run: peers.Run, workload: Workload, limit: int = 300) -> int | None:
    """Fewest iterations, in steps of a tenth, that reach the violation; None if `limit` does not."""
    count = 4
    while count <= limit:
        if violation(run(count), 1.0 / workload.nodes, workload.mass) <= workload.error:
            return count
        count = count + max(1, count // 10)
    return None


def compare_solves(workload: Workload, rounds: int) -> dict[str, dict[str, float | int | None]]:
    """Median and quartiles of the time each solver takes for the whole batch, in milliseconds."""
    cost = workload.cost()
    offered: dict[str, peers.Run | None] = {
        "row-vector bmm, kernel and transpose stored": peers.kernel_torch(cost, workload),
        "POT sinkhorn, NumPy, kernel domain": peers.pot_sinkhorn(cost, workload),
        "OTT, kernel domain, momentum 1.5": peers.ott(cost, workload, momentum=1.5, log_domain=False),
        "OTT, log domain, momentum 1.5": peers.ott(cost, workload, momentum=1.5, log_domain=True),
        "eager PyTorch, log domain": peers.plain_torch(cost, workload),
    }
    runs = {name: run for name, run in offered.items() if run is not None}
    counts: dict[str, int | None] = {"partialot": own_iterations(cost, workload)}
    counts |= {name: fewest_iterations(run, workload) for name, run in runs.items()}
    runs = {"partialot": ours(cost, workload), **runs}
    if workload.nodes <= 64:
        runs["POT, exact, one problem after the other"] = exact(cost, workload)
        counts["POT, exact, one problem after the other"] = 1_000_000
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in tqdm(range(rounds + 1), desc=f"{workload.batch} x {workload.nodes}²"):
        for name, run in runs.items():
            if (count := counts[name]) is not None:
                begin = time.perf_counter()
                run(count)
                # The first turn warms caches and pages.
                times[name] += [1e3 * (time.perf_counter() - begin)] if turn else []
    return {name: _row(runs[name], counts[name], times[name], workload) for name in runs}


def _row(run: peers.Run, count: int | None, times: list[float], workload: Workload) -> dict[str, float | int | None]:
    if count is None:
        return {"iterations": None, "median_ms": None}
    low, median, high = statistics.quantiles(times, n=4)
    reached = violation(run(count), 1.0 / workload.nodes, workload.mass)
    return {"iterations": count, "median_ms": median, "low_ms": low, "high_ms": high, "violation": reached}


def compare_gradients(workload: Workload, rounds: int) -> dict[str, dict[str, float | None]]:
    """Forward and backward of ⟨W, plan⟩, in milliseconds, and the error of the derivative by the cost.

    The truth is ours in float64 at a tolerance of 1e-12. Eager PyTorch is unrolled over the sweeps it needs.
    """
    cost = workload.cost()
    weights = torch.randn(cost.shape, generator=torch.Generator().manual_seed(1))
    tight = {"mass": workload.mass, "reg": workload.reg, "solver": partialot.Sinkhorn(max_iter=20_000, tol=1e-12)}
    truth = _derivative(lambda leaf: partialot.solve(leaf, **tight).plan, cost.double(), weights.double())[0]
    solver = partialot.Sinkhorn(tol=1e-5)
    options = {"mass": workload.mass, "reg": workload.reg, "solver": solver}
    methods: dict[str, Callable[[], tuple[Tensor, float, float]] | None] = {
        "partialot, Implicit": lambda: _derivative(lambda leaf: partialot.solve(leaf, **options).plan, cost, weights),
        "OTT, implicit": peers.ott_implicit(cost, weights, workload),
        "eager PyTorch, unrolled 40 sweeps": lambda: _derivative(
            lambda leaf: peers.plain_torch(leaf, workload)(40), cost, weights
        ),
    }
    rows: dict[str, dict[str, float | None]] = {}
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name, one in methods.items() if one is not None}
    for _ in tqdm(range(rounds + 1), desc="gradients"):
        for name, method in methods.items():
            if method is not None:
                gradient, forward, backward = method()
                error = ((gradient.double() - truth).norm() / truth.norm()).item()
                found[name].append((1e3 * forward, 1e3 * backward, error))
    for name, taken in found.items():
        forward, backward, error = (statistics.median(column) for column in zip(*taken[1:], strict=True))
        rows[name] = {"forward_ms": forward, "backward_ms": backward, "error": error}
    return rows


def _derivative(plan: Callable[[Tensor], Tensor], cost: Tensor, weights: Tensor) -> tuple[Tensor, float, float]:
    leaf = cost.clone().requires_grad_()
    begin = time.perf_counter()
    result = plan(leaf)
    middle = time.perf_counter()
    (gradient,) = torch.autograd.grad(result, leaf, weights)
    return gradient, middle - begin, time.perf_counter() - middle


def main() -> None:
    """Compare, print tables and keep the figures."""
    given = arguments(__doc__, "cpu", rounds=7).parse_args()
    before, solves = machine(), []
    for workload in WORKLOADS:
        rows = compare_solves(workload, given.rounds if workload.nodes < 2000 else min(given.rounds, 3))
        solves.append({"workload": asdict(workload), "results": rows})
        print(f"{workload.batch} x {workload.nodes}², to a violation of {workload.error:g}")
        for name, row in rows.items():
            print(
                f"  {name:46}",
                *(f"{key} {value:.4g}" if value is not None else f"{key} -" for key, value in row.items()),
            )
    gradients = compare_gradients(WORKLOADS[0], min(given.rounds, 3))
    print("4 x 900², forward and backward of a function of the plan")
    for name, row in gradients.items():
        print(f"  {name:46}", *(f"{key} {value:.4g}" for key, value in row.items()))
    keep(given.out, before, {"solves": solves, "gradients": gradients})


if __name__ == "__main__":
    main()
