"""The peers at their best settings, on the bordered problem that partialot solves without its border written out."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import ot
import torch
from torch import Tensor
from workload import Workload

Run = Callable[[int], Tensor]
"""Solves the batch with so many iterations and returns its plans."""


def plain_torch(cost: Tensor, workload: Workload) -> Run:
    """Log-domain Sinkhorn on the bordered matrix, as it stands in most code: two `logsumexp` an iteration."""
    bordered, log_weights = _in_logarithms(cost, workload)

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


def compiled_torch(cost: Tensor, workload: Workload) -> Run:
    """The same log-domain iteration as `plain_torch` under torch.compile."""
    bordered, log_weights = _in_logarithms(cost, workload)

    @torch.compile
    def iteration(g: Tensor) -> tuple[Tensor, Tensor]:
        f = log_weights - torch.logsumexp(g[:, None, :] - bordered, dim=2)
        return f, log_weights - torch.logsumexp(f[:, :, None] - bordered, dim=1)

    def run(iterations: int) -> Tensor:
        f = g = torch.zeros(len(cost), workload.nodes + 1)
        for _ in range(iterations):
            f, g = iteration(g)
        return torch.exp(f[:, :, None] + g[:, None, :] - bordered)[:, :-1, :-1]

    return run


def kernel_torch(cost: Tensor, workload: Workload) -> Run:
    """Kernel-domain iterations, the border as vectors, kernel and transpose stored: two row-vector products each."""
    kernel = (-cost / workload.reg).exp()
    transposed = kernel.mT.contiguous()
    weight, spare = 1.0 / workload.nodes, 1.0 - workload.mass

    def run(iterations: int) -> Tensor:
        v, v_dummy = torch.ones(len(cost), 1, workload.nodes), torch.ones(len(cost), 1, 1)
        u, u_dummy = torch.ones_like(v), torch.ones_like(v_dummy)
        for _ in range(iterations):
            u = weight / (torch.bmm(v, transposed) + v_dummy)
            u_dummy = spare / v.sum(-1, keepdim=True)
            v = weight / (torch.bmm(u, kernel) + u_dummy)
            v_dummy = spare / u.sum(-1, keepdim=True)
        return u.mT * kernel * v

    return run


def ott_implicit(cost: Tensor, weights: Tensor, workload: Workload) -> Callable[[], tuple[Tensor, float, float]] | None:
    """OTT-JAX's derivative of ⟨weights, plan⟩ by the cost, forward and forward with backward timed apart."""
    try:
        import jax  # pyright: ignore[reportMissingImports] - an optional peer
        from ott.geometry import geometry  # pyright: ignore[reportMissingImports] - an optional peer
        from ott.problems.linear import linear_problem  # pyright: ignore[reportMissingImports] - an optional peer
        from ott.solvers.linear import implicit_differentiation, sinkhorn  # pyright: ignore[reportMissingImports] - an optional peer
    except ImportError:
        return None
    nodes = workload.nodes
    marginal = np.full(nodes + 1, 1.0 / nodes, dtype=np.float32)
    marginal[-1] = 1.0 - workload.mass
    corner = 2 * float(cost.max()) + 40 * workload.reg
    solver = sinkhorn.Sinkhorn(
        lse_mode=True, threshold=1e-5, max_iterations=2000, implicit_diff=implicit_differentiation.ImplicitDiff()
    )

    def plan(matrix: Any) -> Any:
        bordered = jax.numpy.pad(matrix, ((0, 1), (0, 1))).at[-1, -1].set(corner)
        problem = linear_problem.LinearProblem(geometry.Geometry(bordered, epsilon=workload.reg), marginal, marginal)
        return solver(problem).matrix[:-1, :-1]

    def value(matrices: Any, held: Any) -> Any:
        return (jax.vmap(plan)(matrices) * held).sum()

    forward, both = jax.jit(jax.vmap(plan)), jax.jit(jax.grad(value))
    matrices, held = jax.device_put(cost.numpy()), jax.device_put(weights.numpy())

    def run() -> tuple[Tensor, float, float]:
        marks = [time.perf_counter()]
        forward(matrices).block_until_ready()
        marks.append(time.perf_counter())
        gradient = both(matrices, held).block_until_ready()
        marks.append(time.perf_counter())
        first, second = marks[1] - marks[0], marks[2] - marks[1]
        return torch.from_numpy(np.array(gradient)), first, max(second - first, 0.0)

    return run


def ott(cost: Tensor, workload: Workload, *, momentum: float, log_domain: bool) -> Run | None:
    """OTT-JAX under jit and vmap; None where it is not installed."""
    try:
        import jax  # pyright: ignore[reportMissingImports] - an optional peer
        from ott.geometry import geometry  # pyright: ignore[reportMissingImports] - an optional peer
        from ott.problems.linear import linear_problem  # pyright: ignore[reportMissingImports] - an optional peer
        from ott.solvers.linear import acceleration, sinkhorn  # pyright: ignore[reportMissingImports] - an optional peer
    except ImportError:
        return None
    bordered = torch.nn.functional.pad(cost, (0, 1, 0, 1)).numpy()
    # A corner dearer than any path around it; infinity gives OTT a cost of NaN.
    bordered[:, -1, -1] = 2 * bordered.max() + 40 * workload.reg
    weights = np.full(workload.nodes + 1, 1.0 / workload.nodes, dtype=np.float32)
    weights[-1] = 1.0 - workload.mass
    held = jax.device_put(bordered)
    compiled: dict[int, Any] = {}

    def solver(iterations: int) -> Any:
        options = {"threshold": 0.0, "min_iterations": iterations, "max_iterations": iterations}
        step = sinkhorn.Sinkhorn(
            lse_mode=log_domain, inner_iterations=iterations, momentum=acceleration.Momentum(value=momentum), **options
        )

        def one(matrix: Any) -> Any:
            problem = linear_problem.LinearProblem(geometry.Geometry(matrix, epsilon=workload.reg), weights, weights)
            return step(problem).matrix

        return jax.jit(jax.vmap(one))

    def run(iterations: int) -> Tensor:
        if iterations not in compiled:
            compiled[iterations] = solver(iterations)
        return torch.from_numpy(np.array(compiled[iterations](held)))[:, :-1, :-1]

    return run


def _in_logarithms(cost: Tensor, workload: Workload) -> tuple[Tensor, Tensor]:
    """The bordered costs over `reg` with a forbidden corner, and the logarithms of the weights of either side."""
    bordered = torch.nn.functional.pad(cost, (0, 1, 0, 1)) / workload.reg
    bordered[:, -1, -1] = torch.inf
    weights = torch.full((workload.nodes + 1,), 1.0 / workload.nodes)
    weights[-1] = 1.0 - workload.mass
    return bordered, weights.log()
