"""What one full iteration costs, in milliseconds and in reads of the matrix, beside the peers, in one process.

An iteration updates every row and every column of a batch of partial problems once. For solvers that cannot be asked
for one, it is the difference of two runs over the difference of their iterations. «read» is one sum over the matrix.

    python benchmarks/bench_sweep.py
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict

import torch
from peers import Run, ott, plain, pot
from record import arguments, keep
from timing import spread
from torch import Tensor
from tqdm import tqdm
from workload import Workload, machine

from partialot.kernels import cpu, reference
from partialot.kernels.primitives import Entries, Prices, RowUpdate, Source

Step = Callable[[], object]


def own(cost: Tensor, workload: Workload) -> dict[str, Step]:
    """The passes that `solve` is made of: over the costs, over the stored kernel, and in plain PyTorch."""
    batch, nodes = cost.shape[:2]
    like = torch.zeros(batch, nodes, dtype=torch.float64)
    ones = torch.ones(batch, dtype=torch.float64)
    prices = Prices(cost, ones / workload.reg, 0 * ones)
    weight = like - torch.tensor(float(nodes)).log()
    update = RowUpdate(weight, weight, ones, like + torch.inf)
    source = {name: torch.full((batch,), int(name), dtype=torch.int8) for name in (Source.COST, Source.STORED)}
    potential = like + 0.5 / workload.reg
    fresh = Entries(prices, None, source[Source.COST], potential, weight)
    stored = torch.empty_like(cost)
    reference.write_out(Entries(prices, stored, source[Source.COST], potential, weight))
    near = Entries(prices, stored, source[Source.STORED], like, like)
    steps: dict[str, Step] = {
        "partialot, plain PyTorch, log domain": lambda: reference.row_pass(fresh, update),
        "partialot, plain PyTorch, stored kernel": lambda: reference.row_pass(near, update),
    }
    if cpu.available(cost):
        steps["partialot, native, log domain"] = lambda: cpu.row_pass(fresh, update)
        steps["partialot, native, stored kernel"] = lambda: cpu.row_pass(near, update)
    return steps


def between(run: Run, few: int, many: int) -> Callable[[], float]:
    """Seconds that one iteration adds to a run."""

    def measure() -> float:
        marks = [time.perf_counter()]
        for count in (few, many):
            run(count)
            marks.append(time.perf_counter())
        return ((marks[2] - marks[1]) - (marks[1] - marks[0])) / (many - few)

    return measure


def seconds(step: Step, repeats: int) -> Callable[[], float]:
    """Seconds of one call, the mean of a few in a row."""

    def measure() -> float:
        begin = time.perf_counter()
        for _ in range(repeats):
            step()
        return (time.perf_counter() - begin) / repeats

    return measure


def compare(workload: Workload, rounds: int) -> dict[str, dict[str, float]]:
    """Median and quartiles of every solver's iteration, and how many reads that is."""
    cost = workload.cost()
    repeats = max(1, 20_000_000 // cost.numel())
    measures = {"read": seconds(lambda: cost.sum(), repeats)}
    measures |= {name: seconds(step, repeats) for name, step in own(cost, workload).items()}
    runs: dict[str, Run] = {
        "row-vector bmm, kernel and transpose stored": plain.kernel_domain(cost, workload),
        "POT sinkhorn, NumPy, kernel domain": pot.sinkhorn(cost, workload),
        "torch.compile, log domain": plain.compiled(cost, workload),
        "eager PyTorch, log domain": plain.log_domain(cost, workload),
    }
    if ott.INSTALLED:
        runs["OTT, kernel domain"] = ott.sinkhorn(cost, workload, momentum=1.0, log_domain=False)
        runs["OTT, log domain"] = ott.sinkhorn(cost, workload, momentum=1.0)
    # As many iterations as make the difference large beside what a run costs besides.
    slow, fast = max(8, 130_000_000 // cost.numel()), max(32, 400_000_000 // cost.numel())
    measures |= {
        name: between(run, 2, slow if name.startswith(("eager", "torch")) else fast) for name, run in runs.items()
    }
    times: dict[str, list[float]] = {name: [] for name in measures}
    for turn in tqdm(range(rounds + 1), desc=f"{workload.batch} x {workload.nodes}²"):
        for name, measure in measures.items():
            taken = 1e3 * measure()
            # The first turn compiles, warms caches and pages.
            times[name] += [taken] if turn else []
    read = statistics.median(times["read"])
    rows = {}
    for name, taken in times.items():
        rows[name] = spread(taken) | {"reads": statistics.median(taken) / read}
    return rows


def main() -> None:
    """Compare, print a table and keep the figures."""
    given = arguments(__doc__, "sweep", rounds=5).parse_args()
    before, results = machine(), []
    for workload in (Workload(4, 900, 0.3, 0.05, 1e-3), Workload(4, 3600, 0.3, 0.05, 1e-3)):
        rows = compare(workload, given.rounds)
        results.append({"workload": asdict(workload), "results": rows})
        print(f"{workload.batch} x {workload.nodes}²: one full iteration")
        for name, row in rows.items():
            print(f"  {name:46} {row['median_ms']:9.3f} ms {row['reads']:7.1f} reads")
    keep(given.out, before, {"tables": results})


if __name__ == "__main__":
    main()
