"""Time partial transport between point clouds whose prices are not stored, and measure its memory.

Each size runs in a process of its own, whose peak memory above what it held with the points in place is reported. A
sweep is timed as the difference between solves of many sweeps and of one; beside it stands what the exponentials of
one dense pass cost in plain PyTorch, block by block in cache, without prices, sums or updates. Backward passes are
those of the value and of a product with the plan, the latter with so many products of the adjoint system's solver.

    python benchmarks/bench_lazy.py --points 5000 20000
    python benchmarks/bench_lazy.py --points 100000 --sweeps 1 --products 1   # every pass at 10^10 prices: minutes
"""

import argparse
import multiprocessing
import resource
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial

import torch
from record import arguments, keep
from torch import Tensor
from workload import machine

import partialot


@dataclass(frozen=True)
class Clouds:
    """Two uniform clouds in the unit cube, of as many points each, squared distances between them."""

    points: int
    dimension: int
    mass: float
    reg: float
    sweeps: int
    storage: str
    products: int
    backward: bool

    def sides(self) -> tuple[Tensor, Tensor]:
        """The points (points, dimension), float32, the same every time; those of the sources want derivatives."""
        generator = torch.Generator().manual_seed(0)
        x, y = (torch.rand(self.points, self.dimension, generator=generator) for _ in range(2))
        return x.requires_grad_(), y


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one run."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def peak() -> float:
    """The most memory that this process has held so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def solve(clouds: Clouds, sides: tuple[Tensor, Tensor], sweeps: int) -> partialot.Solution:
    """So many sweeps, converged or not."""
    cloud = partialot.PointCloud(*sides, storage=clouds.storage)  # pyright: ignore[reportArgumentType]
    solver = partialot.Sinkhorn(max_iter=sweeps, tol=1e-30, annealing=False)
    gradient = partialot.Implicit(tol=1e-30, max_iter=clouds.products)
    return partialot.solve(cloud, mass=clouds.mass, reg=clouds.reg, solver=solver, gradient=gradient)


def differentiate_a_product(solution: partialot.Solution, vectors: Tensor) -> None:
    """Multiply the plan with some vectors, and go back to the features through the optimum."""
    solution.apply(vectors).square().sum().backward()


def exponentials(count: int) -> float:
    """Seconds that `torch.exp` takes for so many numbers, two million at a time."""
    block = torch.rand(1 << 21)
    room = torch.empty_like(block)
    times = [seconds(partial(torch.exp, block, out=room)) for _ in range(20)]
    return sorted(times)[len(times) // 2] * count / block.numel()


def measure(clouds: Clouds) -> dict[str, float | str | None]:
    """Time the parts of one size, in a fresh process."""
    warnings.simplefilter("ignore", partialot.ConvergenceWarning)
    sides = clouds.sides()
    few = tuple(side[:256].detach().requires_grad_() for side in sides)
    # What is loaded at the first use is not counted.
    warm = solve(clouds, (few[0], few[1]), 2)
    (warm.value + warm.apply(few[1]).sum()).sum().backward()
    before = peak()
    one = seconds(partial(solve, clouds, sides, 1))
    begin = time.perf_counter()
    solution = solve(clouds, sides, 1 + clouds.sweeps)
    sweep = (time.perf_counter() - begin - one) / clouds.sweeps
    forward = peak() - before
    with torch.no_grad():
        product = seconds(partial(solution.apply, sides[1]))
    value_backward = seconds(partial(solution.value.backward, retain_graph=True)) if clouds.backward else None
    apply_backward = seconds(partial(differentiate_a_product, solution, sides[1])) if clouds.backward else None
    exp = exponentials(clouds.points**2)
    return {
        "storage": "blocks" if solution.known.plan is None else "matrix",
        "sweep_s": sweep,
        "sweep_over_exponentials": sweep / exp,
        "solve_of_one_sweep_s": one,
        "apply_s": product,
        "value_backward_s": value_backward,
        "apply_and_backward_s": apply_backward,
        "forward_mib": forward,
        "peak_mib": peak() - before,
        "process_mib": peak(),
    }


def main() -> None:
    """Measure each size, print the figures and keep them."""
    parser = arguments(__doc__, "lazy")
    parser.add_argument("--points", type=int, nargs="+", default=[5000, 20000])
    parser.add_argument("--dimension", type=int, default=3)
    parser.add_argument("--mass", type=float, default=0.5)
    parser.add_argument("--reg", type=float, default=0.05)
    parser.add_argument("--sweeps", type=int, default=5)
    parser.add_argument("--products", type=int, default=2)
    parser.add_argument("--storage", choices=["auto", "matrix", "blocks"], default="blocks")
    parser.add_argument("--backward", action=argparse.BooleanOptionalAction, default=True)
    given = parser.parse_args()
    before, results = machine(), []
    for points in given.points:
        settings = given.mass, given.reg, given.sweeps, given.storage, given.products, given.backward
        clouds = Clouds(points, given.dimension, *settings)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            figures = pool.submit(measure, clouds).result()
        results.append({"clouds": asdict(clouds), "figures": figures})
        print(points, *(f"{key} {x:.4g}" if isinstance(x, float) else f"{key} {x}" for key, x in figures.items()))
    keep(given.out, before, {"results": results})


if __name__ == "__main__":
    main()
