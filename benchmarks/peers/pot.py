"""POT: the functions that its documentation recommends for each problem, without a test of their own."""

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from workload import Workload

from peers.border import border, strip

# Its annotations promise less than it returns.
ot: Any = importlib.import_module("ot")
importlib.import_module("ot.batch")

_CORNER = 200.0
"""Price between dummies over `reg`: POT takes no infinite one, and float32 has no kernel entry left beyond this."""


def sinkhorn(cost: Tensor, workload: Workload, method: str = "sinkhorn") -> Callable[[int], Tensor]:
    """`ot.sinkhorn` on NumPy arrays, one problem after the other; its default is the kernel domain.

    The other methods are https://pythonot.github.io/gen_modules/ot.bregman.html#ot.bregman.sinkhorn.
    """
    bordered, weights = border(cost, workload, _CORNER * workload.reg)
    matrices, total = bordered.numpy(), weights.sum().item()
    shares = (weights / weights.sum()).numpy()

    def run(iterations: int) -> Tensor:
        options = {"method": method, "numItermax": iterations, "stopThr": 0.0, "warn": False}
        plans = [torch.as_tensor(ot.sinkhorn(shares, shares, one, workload.reg, **options)) for one in matrices]
        return strip(total * torch.stack(plans), workload)

    return run


def solve_batch(cost: Tensor, workload: Workload, grad: str = "detach") -> Callable[[int], Tensor]:
    """`ot.solve_batch` on tensors, in its default log domain; balanced only.

    Ways to differentiate: https://pythonot.github.io/gen_modules/ot.batch.html#ot.batch.solve_batch.
    """

    def run(iterations: int) -> Tensor:
        return ot.batch.solve_batch(cost, reg=workload.reg, max_iter=iterations, tol=0.0, grad=grad).plan

    return run


def capped(cost: Tensor, workload: Workload, method: str = "sinkhorn") -> Callable[[int], Tensor]:
    """`ot.partial.entropic_partial_wasserstein` on float64 arrays, one problem after the other.

    In float32 it stops at NaN much earlier, and it is made of products of whole matrices in either type.
    """
    matrices = cost.double().numpy()
    weights = torch.full((workload.nodes,), 1.0 / workload.nodes, dtype=torch.float64).numpy()

    def run(iterations: int) -> Tensor:
        options = {"m": workload.mass, "numItermax": iterations, "stopThr": 0.0, "method": method}
        partial = ot.partial.entropic_partial_wasserstein
        plans = (partial(weights, weights, one, workload.reg, **options) for one in matrices)
        return torch.stack([torch.as_tensor(plan) for plan in plans])

    return run
