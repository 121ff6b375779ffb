"""Sinkhorn as it is written by hand in PyTorch."""

from collections.abc import Callable

import torch
from torch import Tensor
from workload import Workload

from peers.border import border, strip


def log_domain(cost: Tensor, workload: Workload) -> Callable[[int], Tensor]:
    """Log-domain Sinkhorn on the bordered matrix, as it stands in most code: two `logsumexp` an iteration."""
    scaled, log_weights = _in_logarithms(cost, workload)

    def run(iterations: int) -> Tensor:
        f = g = scaled.new_zeros(scaled.shape[:2])
        for _ in range(iterations):
            f, g = _iterate(scaled, log_weights, g)
        return strip(torch.exp(f[:, :, None] + g[:, None, :] - scaled), workload)

    return run


def compiled(cost: Tensor, workload: Workload) -> Callable[[int], Tensor]:
    """The same iteration under torch.compile."""
    scaled, log_weights = _in_logarithms(cost, workload)
    # For this size alone: what is compiled for any size is slower.
    iterate = torch.compile(_iterate, dynamic=False)

    def run(iterations: int) -> Tensor:
        f = g = scaled.new_zeros(scaled.shape[:2])
        for _ in range(iterations):
            f, g = iterate(scaled, log_weights, g)
        return strip(torch.exp(f[:, :, None] + g[:, None, :] - scaled), workload)

    return run


def graphed(cost: Tensor, workload: Workload) -> Callable[[int], Tensor]:
    """The same iterations, all of them recorded as one CUDA graph: no launch from Python is waited for."""
    eager = log_domain(cost, workload)
    recorded: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}

    def record(iterations: int) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        # What is allocated at the first use must not be allocated while recording.
        apart = torch.cuda.Stream()
        apart.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(apart):
            eager(1)
        torch.cuda.current_stream().wait_stream(apart)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            plan = eager(iterations)
        return graph, plan

    def run(iterations: int) -> Tensor:
        if iterations not in recorded:
            recorded[iterations] = record(iterations)
        graph, plan = recorded[iterations]
        graph.replay()
        return plan

    return run


def kernel_domain(cost: Tensor, workload: Workload) -> Callable[[int], Tensor]:
    """Kernel-domain iterations, the border as vectors, kernel and transpose stored: two row-vector products each."""
    kernel = (-cost / workload.reg).exp()
    transposed = kernel.mT.contiguous()
    weight, spare = 1.0 / workload.nodes, 1.0 - workload.moved

    def run(iterations: int) -> Tensor:
        v = u = cost.new_ones((len(cost), 1, workload.nodes))
        # A dummy without weight never takes part.
        v_dummy = u_dummy = cost.new_full((len(cost), 1, 1), float(spare > 0))
        for _ in range(iterations):
            u = weight / (torch.bmm(v, transposed) + v_dummy)
            u_dummy = spare / v.sum(-1, keepdim=True)
            v = weight / (torch.bmm(u, kernel) + u_dummy)
            v_dummy = spare / u.sum(-1, keepdim=True)
        return u.mT * kernel * v

    return run


def _iterate(scaled: Tensor, log_weights: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    f = log_weights - torch.logsumexp(g[:, None, :] - scaled, dim=2)
    return f, log_weights - torch.logsumexp(f[:, :, None] - scaled, dim=1)


def _in_logarithms(cost: Tensor, workload: Workload) -> tuple[Tensor, Tensor]:
    bordered, weights = border(cost, workload, torch.inf)
    return bordered / workload.reg, weights.log()
