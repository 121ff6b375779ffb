"""What the plan of each solver is worth as `reg` becomes small, after at most 2,000 iterations; nothing is timed.

One cosine problem of 200 nodes a side, by the range of the cost over `reg`, in float32 and float64: the violation of
the plan in float64, how far from the optimum it lies, and what is wrong with it at a violation of 1e-3.

    python benchmarks/bench_small_reg.py
"""

import warnings
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial

import torch
from comparison import finite, optimum, show
from judging import distance, find_fault, violation
from peers import Method, methods, ott, own, pot
from record import arguments, keep
from torch import Tensor
from tqdm import tqdm
from workload import Workload, machine

ITERATIONS = 2000


def offered(workload: Workload) -> Iterator[tuple[str, Method]]:
    """All methods but our capped one, nobody stopped by the error; and what POT and OTT have for small `reg`."""
    yield "partialot", Method(partial(own.solve, tol=1e-12))
    yield from ((name, method) for name, method in methods(workload) if not name.startswith("partialot"))
    for method in ("sinkhorn_log", "sinkhorn_stabilized"):
        yield f"POT {method}, NumPy", Method(partial(pot.sinkhorn, method=method))
    if ott.INSTALLED:
        yield "OTT, log domain, no momentum", Method(partial(ott.sinkhorn, momentum=1.0))
        yield "OTT, log domain, Anderson 5", Method(partial(ott.sinkhorn, anderson=5))


def judge(plan: Tensor, best: Tensor | None, workload: Workload) -> dict[str, float | str | None]:
    """Put what a plan is worth in figures."""
    return {
        "violation": finite(violation(plan, workload)),
        "distance": None if best is None else finite(distance(plan, best, workload)),
        "fault": find_fault(plan, best, workload),
    }


def compare(workload: Workload, cost: Tensor, best: Tensor) -> dict[str, dict[str, float | str | None]]:
    """Ask everybody for the plan of one workload."""
    rows = {}
    for name, method in tqdm(offered(workload), desc=f"{cost.dtype}, reg {workload.reg:.2g}"):
        plan = method.prepare(cost, workload)(ITERATIONS)
        rows[name] = judge(plan, None if method.capped else best, workload)
    return rows


def main() -> None:
    """Compare, print tables and keep the figures."""
    parser = arguments(__doc__, "small_reg")
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--ratios", type=int, nargs="+", default=[2**6, 2**10], help="range of the cost over reg")
    given = parser.parse_args()
    # POT and PyTorch warn of what is found in the plan.
    warnings.simplefilter("ignore")
    before, results = machine(), []
    for mass in (0.7, None):
        for ratio in given.ratios:
            cost = Workload(1, given.nodes, mass, 1.0, 1e-3).cost()
            workload = Workload(1, given.nodes, mass, (cost.max() - cost.min()).item() / ratio, 1e-3)
            best = optimum(cost, workload, capped=False)
            for dtype in (torch.float32, torch.float64):
                rows = compare(workload, cost.to(dtype), best)
                kind = str(dtype).removeprefix("torch.")
                results.append({"workload": asdict(workload), "ratio": ratio, "dtype": kind, "results": rows})
                show(f"range over reg {ratio}, mass {mass}, {kind}", rows)
    keep(given.out, before, {"iterations": ITERATIONS, "results": results})


if __name__ == "__main__":
    main()
