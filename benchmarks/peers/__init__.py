"""The peers at their best settings, on the problems that partialot solves."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from torch import Tensor
from workload import Workload

from peers import geomloss, ott, own, plain, pot

Run = Callable[[int], Tensor]
"""Solves the batch with so many iterations and returns its plans (batch, nodes, nodes)."""


@dataclass(frozen=True)
class Method:
    """One way to solve a workload.

    Attributes:
        prepare: Takes what a caller would keep between calls out of the timing.
        stops: Whether it stops by itself at the error asked for; others are told how many iterations that takes.
        capped: Whether it solves the problem with capped marginals, whose optimum is another one.
    """

    prepare: Callable[[Tensor, Workload], Run]
    stops: bool = False
    capped: bool = False


def methods(workload: Workload) -> Iterator[tuple[str, Method]]:
    """Name who offers the problem and is installed, ourselves first."""
    yield "partialot", Method(own.solve, stops=True)
    yield "eager PyTorch, log domain", Method(plain.log_domain)
    yield "row-vector bmm, kernel and transpose stored", Method(plain.kernel_domain)
    yield "POT sinkhorn, NumPy, kernel domain", Method(pot.sinkhorn)
    if ott.INSTALLED:
        yield "OTT, log domain, momentum 1.5", Method(ott.sinkhorn)
    if workload.mass is None:
        yield "POT solve_batch, log domain", Method(pot.solve_batch)
        if geomloss.INSTALLED:
            yield "GeomLoss solve_batch", Method(geomloss.solve_batch)
    # POT multiplies whole matrices in every sweep of this formulation.
    elif workload.nodes <= 1024:
        yield "partialot, capped", Method(partial(own.solve, formulation="capped"), stops=True, capped=True)
        yield "POT entropic partial (capped)", Method(pot.capped, capped=True)
