"""Time partial transport on the CPU: partialot, POT and plain PyTorch, in one process, in turns.

Every solver gets the same bordered problem and must reach the same constraint violation, measured here on the plan it
returns. The peers do not stop by that measure, so each runs the fewest iterations that reach it, found beforehand and
not timed, without any test of its own: to their advantage. Runs are interleaved so that a busy machine slows all alike.

    python benchmarks/bench_cpu.py --nodes 900 --rounds 7
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import ot
import torch
from torch import Tensor
from tqdm import tqdm

import partialot

Run = Callable[[int], Tensor]
"""Solves the batch with so many iterations and returns its plans."""


@dataclass(frozen=True)
class Workload:
    """A batch of cosine costs between clustered features, as matching images gives them."""

    batch: int
    nodes: int
    mass: float
    reg: float
    error: float

    def cost(self) -> Tensor:
        """Costs (batch, nodes, nodes) in [0, 2], float32, the same every time."""
        generator = torch.Generator().manual_seed(0)
        centres = torch.randn(self.batch, 12, 64, generator=generator)
        sides = []
        for _ in range(2):
            chosen = torch.randint(12, (self.batch, self.nodes), generator=generator)
            noise = 0.7 * torch.randn(self.batch, self.nodes, 64, generator=generator)
            features = torch.take_along_dim(centres, chosen[..., None], dim=1) + noise
            sides.append(torch.nn.functional.normalize(features, dim=-1))
        return 1.0 - sides[0] @ sides[1].mT


def violation(plan: Tensor, weight: float, mass: float) -> float:
    """Violation summed over the rows, over the columns, and of the mass, relative to it; the worst of the batch."""
    plan = plan.double()
    rows, columns = ((plan.sum(side) - weight).clamp(min=0).sum(-1) for side in (-1, -2))
    amount = (plan.sum((-2, -1)) - mass).abs()
    return torch.stack([rows, columns, amount]).max().item() / mass


def plain_torch(cost: Tensor, workload: Workload) -> Run:
    """Log-domain Sinkhorn on the bordered matrix, as it stands in most code: two `logsumexp` an iteration."""
    bordered = torch.nn.functional.pad(cost, (0, 1, 0, 1)) / workload.reg
    bordered[:, -1, -1] = torch.inf
    weights = torch.full((workload.nodes + 1,), 1.0 / workload.nodes)
    weights[-1] = 1.0 - workload.mass
    log_weights = weights.log()

    def run(iterations: int) -> Tensor:
        f = g = torch.zeros(len(cost), workload.nodes + 1)
        for _ in range(iterations):
            f = log_weights - torch.logsumexp(g[:, None, :] - bordered, dim=2)
            g = log_weights - torch.logsumexp(f[:, :, None] - bordered, dim=1)
        return torch.exp(f[:, :, None] + g[:, None, :] - bordered)[:, :-1, :-1]

    return run


def pot_sinkhorn(cost: Tensor, workload: Workload) -> Run:
    """POT's NumPy Sinkhorn in the kernel domain on the bordered matrix, one problem after the other."""
    bordered = torch.nn.functional.pad(cost, (0, 1, 0, 1)).numpy()
    # POT takes no infinite price; beyond this one float32 has no kernel entry left either.
    bordered[:, -1, -1] = 200.0 * workload.reg
    weights = np.full(workload.nodes + 1, 1.0 / workload.nodes, dtype=np.float32)
    weights[-1] = 1.0 - workload.mass
    weights /= weights.sum()

    def run(iterations: int) -> Tensor:
        options = {"numItermax": iterations, "stopThr": 0.0, "warn": False}
        plans = [torch.as_tensor(ot.sinkhorn(weights, weights, one, workload.reg, **options)) for one in bordered]
        return (2.0 - workload.mass) * torch.stack(plans)[:, :-1, :-1]

    return run


def ours(cost: Tensor, workload: Workload) -> Run:
    """partialot, which stops by itself at the violation asked for; its tests of it are timed."""

    def run(iterations: int) -> Tensor:
        solver = partialot.Sinkhorn(max_iter=iterations, tol=workload.error)
        return partialot.solve(cost, mass=workload.mass, reg=workload.reg, solver=solver).plan

    return run


def own_iterations(cost: Tensor, workload: Workload) -> int:
    """Iterations that partialot takes before it stops by itself."""
    solver = partialot.Sinkhorn(tol=workload.error)
    return int(partialot.solve(cost, mass=workload.mass, reg=workload.reg, solver=solver).n_iter.max())


def fewest_iterations(run: Run, workload: Workload, limit: int = 4096) -> int | None:
    """Fewest iterations, in steps of a tenth, that reach the violation; None if `limit` does not."""
    count = 8
    while count <= limit:
        if violation(run(count), 1.0 / workload.nodes, workload.mass) <= workload.error:
            return count
        count = count + max(1, count // 10)
    return None


def compare(workload: Workload, rounds: int) -> dict[str, dict[str, float | int | None]]:
    """Median and quartiles of the time each solver takes for the whole batch, in milliseconds."""
    cost = workload.cost()
    runs = {
        "partialot": ours(cost, workload),
        "POT": pot_sinkhorn(cost, workload),
        "torch": plain_torch(cost, workload),
    }
    peers = {name: fewest_iterations(run, workload) for name, run in runs.items() if name != "partialot"}
    counts = {"partialot": own_iterations(cost, workload), **peers}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in tqdm(range(rounds + 1), desc=f"{workload.nodes} nodes"):
        for name, run in runs.items():
            if (count := counts[name]) is not None:
                begin = time.perf_counter()
                run(count)
                # The first turn warms caches and pages.
                times[name] += [1e3 * (time.perf_counter() - begin)] if turn else []
    return {name: _row(runs[name], counts[name], times[name], workload) for name in runs}


def _row(run: Run, count: int | None, times: list[float], workload: Workload) -> dict[str, float | int | None]:
    if count is None:
        return {"iterations": None, "median_ms": None}
    low, median, high = statistics.quantiles(times, n=4)
    reached = violation(run(count), 1.0 / workload.nodes, workload.mass)
    return {"iterations": count, "median_ms": median, "low_ms": low, "high_ms": high, "violation": reached}


def machine() -> dict[str, str | int | float]:
    """What the figures were measured on, and how busy it was."""
    info = Path("/proc/cpuinfo")
    models = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    versions = {name: version(name) for name in ("torch", "numpy", "pot")}
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "commit": commit,
        **versions,
    }


def main() -> None:
    """Compare, print a table and keep the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--nodes", type=int, default=900)
    parser.add_argument("--mass", type=float, default=0.3)
    parser.add_argument("--reg", type=float, default=0.05)
    parser.add_argument("--error", type=float, default=1e-3, help="constraint violation to reach, relative to the mass")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "cpu.json")
    given = parser.parse_args()
    workload = Workload(given.batch, given.nodes, given.mass, given.reg, given.error)
    before = machine()
    rows = compare(workload, given.rounds)
    for name, row in rows.items():
        print(name, *(f"{key} {value:.4g}" if value is not None else f"{key} never" for key, value in row.items()))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    record = {"machine": before, "workload": asdict(workload), "results": rows}
    given.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
