"""Compare point clouds whose prices are stored with such whose prices are not: what sets the bounds of the planner.

For every number of points and of features: seconds of a sweep either way, taken as the difference between solves of
many sweeps and of one, the least of several interleaved runs; after how many sweeps the matrix has paid for being
written out; and the most memory of a solve and of the backward passes of its value and of its plan, in matrices.

    OMP_NUM_THREADS=1 python benchmarks/bench_storage.py
"""

import multiprocessing
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial

import torch
from bench_lazy import peak, seconds
from record import arguments, keep
from torch import Tensor
from workload import machine

import partialot

STORAGES = ("matrix", "blocks")


@dataclass(frozen=True)
class Case:
    """Two normal clouds of as many points each, squared distances between them, `reg` a tenth of their mean."""

    points: int
    dimension: int
    sweeps: int
    repeats: int

    def sides(self) -> tuple[Tensor, Tensor]:
        """The points (points, dimension), float32, the same every time; those of the sources want derivatives."""
        generator = torch.Generator().manual_seed(0)
        x, y = (torch.randn(self.points, self.dimension, generator=generator) for _ in range(2))
        return x.requires_grad_(), y

    def solve(self, sides: tuple[Tensor, Tensor], storage: str, sweeps: int) -> partialot.Solution:
        """So many sweeps, converged or not."""
        cloud = partialot.PointCloud(*sides, storage=storage)  # pyright: ignore[reportArgumentType]
        solver = partialot.Sinkhorn(max_iter=sweeps, tol=1e-30, annealing=False, newton=False)
        gradient = partialot.Implicit(tol=1e-30, max_iter=1)
        return partialot.solve(cloud, mass=0.5, reg=0.2 * self.dimension, solver=solver, gradient=gradient)


def times(case: Case) -> dict[str, float]:
    """Time both, in a fresh process."""
    warnings.simplefilter("ignore", partialot.ConvergenceWarning)
    sides = case.sides()
    few: dict[str, list[float]] = {storage: [] for storage in STORAGES}
    many: dict[str, list[float]] = {storage: [] for storage in STORAGES}
    with torch.no_grad():
        for _ in range(case.repeats):
            for storage in STORAGES:
                few[storage].append(seconds(partial(case.solve, sides, storage, 2)))
                many[storage].append(seconds(partial(case.solve, sides, storage, 2 + case.sweeps)))
    sweep = {storage: (min(many[storage]) - min(few[storage])) / case.sweeps for storage in STORAGES}
    ahead = min(few["matrix"]) - min(few["blocks"])
    return {
        "matrix_sweep_ms": 1e3 * sweep["matrix"],
        "blocks_sweep_ms": 1e3 * sweep["blocks"],
        "ratio": sweep["blocks"] / sweep["matrix"],
        "pays_after_sweeps": 2 + max(0.0, ahead / (sweep["blocks"] - sweep["matrix"])),
    }


def memory(case: Case, storage: str) -> float:
    """Give the most memory of a solve and its backward passes, in matrices, in a fresh process."""
    warnings.simplefilter("ignore", partialot.ConvergenceWarning)
    sides = case.sides()
    few = tuple(side[:64].detach().requires_grad_() for side in sides)
    for x, y in ((few[0], few[1]), sides):
        before = peak()
        solution = case.solve((x, y), storage, 3)
        (solution.value + solution.apply(y).square().sum()).backward()
    return (peak() - before) * (1 << 20) / (4 * case.points**2)


def main() -> None:
    """Measure each case, print the figures and keep them."""
    parser = arguments(__doc__, "storage")
    parser.add_argument("--points", type=int, nargs="+", default=[500, 2000, 8000])
    parser.add_argument("--dimensions", type=int, nargs="+", default=[3, 64, 512])
    parser.add_argument("--sweeps", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    before, results = machine(), []
    for case in (Case(n, d, given.sweeps, given.repeats) for n in given.points for d in given.dimensions):
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
            figures = pool.submit(times, case).result()
            used = {f"{storage}_memory": pool.submit(memory, case, storage).result() for storage in STORAGES}
        results.append({"case": asdict(case), "figures": figures | used})
        print(case.points, case.dimension, *(f"{key} {x:.3g}" for key, x in (figures | used).items()), flush=True)
    keep(given.out, before, {"results": results})


if __name__ == "__main__":
    main()
