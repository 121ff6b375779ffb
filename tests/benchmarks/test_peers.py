"""Every solver that is compared and installed solves the problem that it is handed."""

import warnings

import pytest
import torch
from comparison import make_ready, optimum
from peers import methods
from peers.derivatives import derivatives
from workload import Workload

WORKLOADS = [Workload(2, 24, mass, 0.2, 1e-3) for mass in (0.5, None)]
DERIVATIVE = 1e-3
"""Relative error of a derivative whose plan has a violation of 1e-5."""


SOLVERS = [(workload, name) for workload in WORKLOADS for name, _ in methods(workload)]


@pytest.mark.parametrize(("workload", "name"), SOLVERS, ids=str)
def test_every_peer_solves_an_easy_problem(workload: Workload, name: str) -> None:
    method = dict(methods(workload))[name]
    cost = workload.cost()
    entry = make_ready(cost, workload, method, optimum(cost, workload, capped=method.capped), 12)
    # Annealing that is spread over all iterations comes near the weights only slowly.
    assert entry.fault is None or (name.startswith("GeomLoss") and entry.fault.startswith("violation"))


def test_derivatives_that_are_right_agree_with_ours() -> None:
    workload = Workload(2, 24, None, 0.2, 1e-5)
    cost = workload.cost()
    upstream = torch.randn(cost.shape, generator=torch.Generator().manual_seed(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {name: prepare(cost, upstream, workload)()[0] for name, prepare in derivatives(workload)}
    ours = found.pop("partialot, Implicit")
    errors = {name: ((one - ours).norm() / ours.norm()).item() for name, one in found.items()}
    assert errors["eager PyTorch, unrolled"] < DERIVATIVE
    assert errors["POT solve_batch, autodiff"] < DERIVATIVE
    # The fault that the benchmark shows instead of a time.
    assert errors["POT solve_batch, last_step"] > 0.1
