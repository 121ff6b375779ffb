"""GeomLoss, where it is installed: its solver for matrices, balanced only."""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

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
