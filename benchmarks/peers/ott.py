"""OTT-JAX, where it is installed, under jit and vmap."""

import importlib
import importlib.util
import math
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from workload import Workload

from peers.border import border, strip

_RIDGE = 1e-3
"""What OTT's documentation of implicit differentiation has for systems with constants in their kernel."""

INSTALLED = importlib.util.find_spec("ott") is not None

_STORED, _BATCH = 20_000, 1024
"""Points up to which it may store the prices of clouds, and rows that it takes at a time beyond."""


def serves(device: torch.device) -> bool:
    """Tell whether JAX computes where the costs are; it takes the GPU by itself where its build knows one."""
    if not INSTALLED:
        return False
    return importlib.import_module("jax").default_backend() == ("gpu" if device.type == "cuda" else "cpu")


def sinkhorn(
    cost: Tensor, workload: Workload, *, momentum: float = 1.5, anderson: int = 0, log_domain: bool = True
) -> Callable[[int], Tensor]:
    """A fixed number of iterations, compiled for it and without a test: faster than its tests allow.

    How to accelerate it: https://ott-jax.readthedocs.io/tutorials/linear/200_sinkhorn.html. On these problems momentum
    of 1.5 took a third to a half of the iterations of the default; Anderson acceleration is compared where one solver
    more is affordable.
    """
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", cost.dtype == torch.float64)
    held, weights = _hand_over(jax, cost, workload)

    def run(iterations: int) -> Tensor:
        solve = _compile(workload, iterations, momentum, anderson, log_domain)
        return strip(torch.from_dlpack(solve(held, weights)), workload)

    return run


def clouds(x: Tensor, y: Tensor, reg: float, *, momentum: float = 1.5) -> Callable[[int], tuple[Tensor, Tensor]]:
    """A fixed number of iterations between clouds; the prices of many points are never all stored.

    See https://ott-jax.readthedocs.io/_autosummary/ott.geometry.pointcloud.PointCloud.html for `batch_size`.
    """
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", x.dtype == torch.float64)
    pointcloud: Any = importlib.import_module("ott.geometry.pointcloud")
    linear_problem: Any = importlib.import_module("ott.problems.linear.linear_problem")
    held = tuple(jax.device_put(one.cpu().numpy()) for one in (x, y))
    batch_size = None if len(x) <= _STORED else _BATCH
    # Its potentials carry the logarithms of the weights.
    log_weights = [reg * math.log(len(one)) for one in (x, y)]

    @cache
    def compiled(iterations: int) -> Any:
        step = _solver(iterations, momentum)

        def potentials(left: Any, right: Any) -> Any:
            geometry = pointcloud.PointCloud(left, right, epsilon=reg, batch_size=batch_size)
            found = step(linear_problem.LinearProblem(geometry))
            return found.f, found.g

        return jax.jit(potentials)

    def run(iterations: int) -> tuple[Tensor, Tensor]:
        f, g = (torch.from_dlpack(one) for one in compiled(iterations)(*held))
        return f + log_weights[0], g + log_weights[1]

    return run


def differentiate(cost: Tensor, upstream: Tensor, workload: Workload) -> Callable[[], tuple[Tensor, float, float]]:
    """⟨upstream, plan⟩ by the cost, implicitly, its default; seconds of the forward pass and of what backward adds."""
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", False)
    held, weights = _hand_over(jax, cost, workload)
    weighting = jax.device_put(upstream.cpu().numpy())
    forward, both = _compile_derivative(workload)

    def run() -> tuple[Tensor, float, float]:
        marks = [time.perf_counter()]
        forward(held, weights).block_until_ready()
        marks.append(time.perf_counter())
        gradient = both(held, weights, weighting).block_until_ready()
        marks.append(time.perf_counter())
        first, second = marks[1] - marks[0], marks[2] - marks[1]
        return strip(torch.from_dlpack(gradient), workload), first, max(second - first, 0.0)

    return run


def _hand_over(jax: Any, cost: Tensor, workload: Workload) -> tuple[Any, Any]:
    # A corner dearer than any path around it; infinity gives OTT a cost of NaN.
    bordered, weights = border(cost, workload, 2 * float(cost.max()) + 40 * workload.reg)
    return tuple(jax.device_put(one.cpu().numpy()) for one in (bordered, weights))


@cache
def _compile(workload: Workload, iterations: int, momentum: float, anderson: int, log_domain: bool) -> Any:
    jax, step = importlib.import_module("jax"), _solver(iterations, momentum, anderson, log_domain)

    def plan(matrix: Any, weights: Any) -> Any:
        return step(_problem(matrix, weights, workload.reg)).matrix

    return jax.jit(jax.vmap(plan, in_axes=(0, None)))


def _solver(iterations: int, momentum: float, anderson: int = 0, log_domain: bool = True) -> Any:
    solver: Any = importlib.import_module("ott.solvers.linear.sinkhorn")
    acceleration: Any = importlib.import_module("ott.solvers.linear.acceleration")
    limits = dict.fromkeys(("min_iterations", "max_iterations", "inner_iterations"), iterations)
    chosen = (
        {"anderson": acceleration.AndersonAcceleration(memory=anderson)}
        if anderson
        else {"momentum": acceleration.Momentum(value=momentum)}
    )
    return solver.Sinkhorn(lse_mode=log_domain, threshold=0.0, **limits, **chosen)


@cache
def _compile_derivative(workload: Workload) -> tuple[Any, Any]:
    jax, solver = importlib.import_module("jax"), importlib.import_module("ott.solvers.linear.sinkhorn")
    implicit: Any = importlib.import_module("ott.solvers.linear.implicit_differentiation")
    # Potentials are free up to a constant; without this the linear system of balanced problems gave NaN.
    ways = implicit.ImplicitDiff(solver_kwargs={"ridge_kernel": _RIDGE})
    step = solver.Sinkhorn(threshold=workload.error, max_iterations=2000, implicit_diff=ways)

    def plan(matrix: Any, weights: Any) -> Any:
        return step(_problem(matrix, weights, workload.reg)).matrix[: workload.nodes, : workload.nodes]

    plans = jax.vmap(plan, in_axes=(0, None))
    return jax.jit(plans), jax.jit(
        jax.grad(lambda costs, weights, weighting: (plans(costs, weights) * weighting).sum())
    )


def _problem(matrix: Any, weights: Any, reg: float) -> Any:
    geometry: Any = importlib.import_module("ott.geometry.geometry")
    linear_problem: Any = importlib.import_module("ott.problems.linear.linear_problem")
    return linear_problem.LinearProblem(geometry.Geometry(matrix, epsilon=reg), weights, weights)
