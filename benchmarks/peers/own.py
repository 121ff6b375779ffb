"""partialot as the peers are asked: a batch, a limit of iterations; it stops by itself, and its tests are timed."""

import warnings
from collections.abc import Callable
from typing import Literal

from torch import Tensor
from workload import Workload

import partialot


def solve(
    cost: Tensor, workload: Workload, formulation: Literal["dummy", "capped"] = "dummy", tol: float | None = None
) -> Callable[[int], Tensor]:
    """`partialot.solve` to the violation that the workload asks for, or to `tol`."""

    def run(iterations: int) -> Tensor:
        solver = partialot.Sinkhorn(max_iter=iterations, tol=workload.error if tol is None else tol)
        with warnings.catch_warnings():
            # What is not reached is found in the plan.
            warnings.simplefilter("ignore", partialot.ConvergenceWarning)
            return partialot.solve(
                cost, mass=workload.mass, reg=workload.reg, formulation=formulation, solver=solver
            ).plan

    return run
