"""The derivative of a function of the plan, ⟨upstream, plan⟩, by the cost, as each offers it."""

import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from comparison import find_iterations
from timing import wait_for
from torch import Tensor
from workload import Workload

from peers import Run, geomloss, ott, own, plain, pot

Derivative = Callable[[], tuple[Tensor, float, float]]
"""Gives the derivative, seconds forward and seconds backward."""

Prepare = Callable[[Tensor, Tensor, Workload], Derivative]
"""Makes it of cost, upstream and workload."""

ITERATIONS = 20_000


def derivatives(workload: Workload) -> Iterator[tuple[str, Prepare]]:
    """Name who offers it and is installed, ourselves first."""
    yield "partialot, Implicit", partial(_backward, own.solve, ITERATIONS)
    if ott.INSTALLED:
        yield "OTT, implicit", ott.differentiate
    yield "eager PyTorch, unrolled", partial(_backward, plain.log_domain, None)
    if workload.mass is None:
        yield "POT solve_batch, autodiff", partial(_backward, partial(pot.solve_batch, grad="autodiff"), None)
        yield "POT solve_batch, last_step", partial(_backward, partial(pot.solve_batch, grad="last_step"), None)
        if geomloss.INSTALLED:
            yield "GeomLoss solve_batch, plan", partial(_backward, geomloss.solve_batch, None)


def _backward(
    prepare: Callable[[Tensor, Workload], Run],
    iterations: int | None,
    cost: Tensor,
    upstream: Tensor,
    workload: Workload,
) -> Derivative:
    """By PyTorch's backward pass, after as many iterations as reach the error where none are given."""
    count = find_iterations(prepare(cost, workload), workload, 40) if iterations is None else iterations

    def run() -> tuple[Tensor, float, float]:
        leaf = cost.clone().requires_grad_()
        wait_for(leaf.device)
        begin = time.perf_counter()
        plan = prepare(leaf, workload)(count)
        wait_for(leaf.device)
        middle = time.perf_counter()
        (gradient,) = torch.autograd.grad(plan, leaf, upstream)
        wait_for(leaf.device)
        return gradient, middle - begin, time.perf_counter() - middle

    return run
