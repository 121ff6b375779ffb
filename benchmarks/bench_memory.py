"""The most memory that a solve and its backward pass hold beside the costs: partialot and its peers, one way for all.

Every row is a process of its own. It solves once, which compiles, finds how many iterations are needed and warms
caches; gives back what was freed; and solves again: the most that is resident then, above what was resident before
(VmHWM and VmRSS of Linux), which counts the memory of NumPy, PyTorch and JAX alike.

    python benchmarks/bench_memory.py
"""

import ctypes
import gc
import multiprocessing
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import torch
from comparison import LIMIT, find_iterations, title
from peers import methods
from peers.derivatives import derivatives
from record import arguments, keep
from workload import Workload, machine


def resident(field: str) -> float:
    """MiB of this process, now (VmRSS) or at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def most_held(run: Callable[[], object]) -> float:
    """MiB that a run holds at most beside what was held before it."""
    gc.collect()
    # What is freed stays with the process until the C library is asked for it.
    ctypes.CDLL(None).malloc_trim(0)
    # Linux forgets the largest size so far.
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    run()
    return resident("VmHWM") - before


def forward(name: str, workload: Workload) -> float:
    """MiB of a solve, what is prepared for it included, in a fresh process."""
    warnings.simplefilter("ignore")
    cost, method = workload.cost(), dict(methods(workload))[name]
    iterations = LIMIT if method.stops else find_iterations(method.prepare(cost, workload), workload, 12)
    method.prepare(cost, workload)(iterations)
    return most_held(lambda: method.prepare(cost, workload)(iterations))


def forward_and_backward(name: str, workload: Workload) -> float:
    """MiB of a solve that is differentiated, in a fresh process."""
    warnings.simplefilter("ignore")
    cost = workload.cost()
    upstream = torch.randn(cost.shape, generator=torch.Generator().manual_seed(1))
    run = dict(derivatives(workload))[name](cost, upstream, workload)
    run()
    return most_held(run)


def measure(workload: Workload) -> dict[str, dict[str, float | str | None]]:
    """Every method in turn, in MiB and in matrices of the costs, or what it raised."""
    matrix = workload.batch * workload.nodes**2 * 4 / 2**20
    cases = [("forward", forward, name) for name, _ in methods(workload)]
    cases += [("forward and backward", forward_and_backward, name) for name, _ in derivatives(workload)]
    rows: dict[str, dict[str, float | str | None]] = {}
    for kind, function, name in cases:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            found = pool.submit(function, name, workload)
            error = found.exception()
        if error is not None:
            rows[f"{name}: {kind}"] = {"peak_mib": None, "matrices": None, "fault": f"raised {type(error).__name__}"}
            print(f"  {name + ': ' + kind:60} raised {type(error).__name__}", flush=True)
            continue
        held = found.result()
        rows[f"{name}: {kind}"] = {"peak_mib": held, "matrices": held / matrix, "fault": None}
        print(f"  {name + ': ' + kind:60} {held:9.1f} MiB {held / matrix:8.1f} matrices", flush=True)
    return rows


def main() -> None:
    """Measure every method, print the figures and keep them."""
    parser = arguments(__doc__, "memory")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--nodes", type=int, default=900)
    given = parser.parse_args()
    # Large blocks go back to Linux when they are freed, instead of waiting for the next: read when a process starts.
    os.environ |= {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    before, results = machine(), []
    for mass in (0.3, None):
        workload = Workload(given.batch, given.nodes, mass, 0.05, 1e-5)
        print(title(workload))
        results.append({"workload": asdict(workload), "results": measure(workload)})
    keep(given.out, before, {"results": results})


if __name__ == "__main__":
    main()
