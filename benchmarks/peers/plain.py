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
        f = g = torch.zeros(scaled.shape[:2], dtype=cost.dtype)
        for _ in range(iterations):
            f, g = _iterate(scaled, log_weights, g)
        return strip(torch.exp(f[:, :, None] + g[:, None, :] - scaled), workload)

    return run


def compiled(cost: Tensor, workload: Workload) -> Callable[[int], Tensor]:
    """The same iteration under torch.compile."""
    scaled, log_weights = _in_logarithms(cost, workload)
    iterate = torch.compile(_iterate)

    def run(iterations: int) -> Tensor:
        f = g = torch.zeros(scaled.shape[:2], dtype=cost.dtype)
        for _ in range(iterations):
            f, g = iterate(scaled, log_weights, g)
        return strip(torch.exp(f[:, :, None] + g[:, None, :] - scaled), workload)

    return run


def kernel_domain(cost: Tensor, workload: Workload) -> Callable[[int], Tensor]:
    """Kernel-domain iterations, the border as vectors, kernel and transpose stored: two row-vector products each."""
    kernel = (-cost / workload.reg).exp()
    transposed = kernel.mT.contiguous()
    weight, spare = 1.0 / workload.nodes, 1.0 - workload.moved

    def run(iterations: int) -> Tensor:
        v = u = torch.ones(len(cost), 1, workload.nodes, dtype=cost.dtype)
        # A dummy without weight never takes part.
        v_dummy = u_dummy = torch.full((len(cost), 1, 1), float(spare > 0), dtype=cost.dtype)
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
