"""GeomLoss, where it is installed: its solver for matrices, balanced only."""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from workload import Workload

INSTALLED = importlib.util.find_spec("geomloss") is not None


def solve_batch(cost: Tensor, workload: Workload) -> Callable[[int], Tensor]:
    """`geomloss.ot.solve_batch`, which spreads its annealing over the iterations it is given and knows no tolerance.

    Its settings are all there are: https://www.kernel-operations.io/geomloss/api/geomloss.html.
    """
    ot: Any = importlib.import_module("geomloss.ot")

    def run(iterations: int) -> Tensor:
        return ot.solve_batch(cost, reg=workload.reg, max_iter=iterations).plan

    return run


def samples(x: Tensor, y: Tensor, reg: float) -> Callable[[int], tuple[Tensor, Tensor]]:
    """`geomloss.SamplesLoss`, whose prices are |x − y|²/2 and whose annealing ends in so many iterations.

    Through KeOps where that is installed; else it stores the prices.
    """
    geomloss: Any = importlib.import_module("geomloss")
    backend = "online" if importlib.util.find_spec("pykeops") is not None else "tensorized"
    blur = (reg / 2) ** 0.5
    both = torch.cat((x, y))
    # An upper bound of the largest distance, as its own default is; where it begins to anneal.
    diameter = float((both.amax(0) - both.amin(0)).norm())

    def run(iterations: int) -> tuple[Tensor, Tensor]:
        options = {"blur": blur, "diameter": diameter, "scaling": min((blur / diameter) ** (1 / iterations), 0.9999)}
        loss = geomloss.SamplesLoss("sinkhorn", p=2, debias=False, potentials=True, backend=backend, **options)
        f, g = loss(x, y)
        return 2 * f.flatten(), 2 * g.flatten()

    return run
