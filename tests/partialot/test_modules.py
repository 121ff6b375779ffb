"""Everything a user holds survives pickling and copying; layers behave under every switch and in parallel training."""

import copy
import os
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import spawn
from torch.testing import assert_close

import partialot
from partialot.nn import SinkhornDivergence, TransportLoss, TransportMatching

X, Y = (torch.rand(2, size, 3, generator=torch.Generator().manual_seed(size)) for size in (4, 5))
A = torch.tensor([0.125, 0.25, 0.25, 0.375])
"""Exact in every type: weights rounded to bfloat16 would have another total."""

MODULES: dict[str, Callable[[], nn.Module]] = {
    "TransportMatching": partial(TransportMatching, reg=0.2),
    "TransportMatching, exact": partial(TransportMatching, reg=None, cost="euclidean"),
    "TransportMatching, unrolled": partial(TransportMatching, reg=0.2, gradient=partialot.Unrolled()),
    "TransportLoss": partial(TransportLoss, mass=0.5),
    "TransportLoss, exact": partial(TransportLoss, reg=None, mass=0.5),
    "SinkhornDivergence": partial(SinkhornDivergence, reg=0.5),
    "SinkhornDivergence, partial": partial(SinkhornDivergence, reg=0.5, mass=0.5, solver=partialot.Sinkhorn(tol=1e-6)),
}
EVERY_MODULE = pytest.mark.parametrize("module", MODULES)
# The warning is about speed only.
ANOMALY = pytest.mark.filterwarnings("ignore:Anomaly Detection")


def value_of(module: nn.Module, x: Tensor) -> Tensor:
    """A layer's number: the value where it gives a solution."""
    found = module(x, Y, A)
    return found.value.sum() if isinstance(found, partialot.Solution) else found


def through_pickle(thing: Any) -> Any:
    """The thing as another process would get it."""
    return pickle.loads(pickle.dumps(thing))


COPIES = pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, through_pickle], ids=["copy", "deepcopy", "pickle"]
)


@EVERY_MODULE
@COPIES
def test_copies_of_a_module_give_the_same_numbers(module: str, copied: Callable[[nn.Module], nn.Module]) -> None:
    original = MODULES[module]()
    twin = copied(original)
    assert repr(twin) == repr(original)
    assert torch.equal(value_of(twin, X), value_of(original, X))


@EVERY_MODULE
def test_the_state_of_a_module_is_empty_and_loads(module: str, tmp_path: Path) -> None:
    """No parameters, no buffers: a network's checkpoint does not depend on how it matches."""
    original = MODULES[module]()
    assert not list(original.parameters())
    torch.save(nn.Sequential(nn.Linear(3, 3), original).state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert set(state) == {"0.weight", "0.bias"}
    assert not original.load_state_dict(original.state_dict()).missing_keys


@EVERY_MODULE
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_the_numbers_are_the_same(
    module: str, mode: type[torch.no_grad | torch.inference_mode]
) -> None:
    layer, leaf = MODULES[module](), X.clone().requires_grad_()
    with mode():
        quiet = value_of(layer, leaf)
    assert not quiet.requires_grad
    assert torch.equal(quiet, value_of(layer, leaf).detach())


@EVERY_MODULE
def test_autocast_changes_no_digit(module: str) -> None:
    layer, leaf = MODULES[module](), X.clone().requires_grad_()
    expected = value_of(layer, leaf)
    (slope,) = torch.autograd.grad(expected, leaf)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = value_of(layer, leaf)
    assert torch.equal(found, expected)
    assert torch.equal(torch.autograd.grad(found, leaf)[0], slope)


def test_half_precision_features_of_an_autocast_network_are_matched_in_float32() -> None:
    network = nn.Linear(3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = network(X)
        loss = SinkhornDivergence(reg=0.5)(features, network(Y), A.bfloat16())
    assert features.dtype == torch.bfloat16
    assert loss.dtype == torch.float32
    loss.backward()
    assert network.weight.grad is not None
    assert network.weight.grad.abs().sum() > 0


@ANOMALY
@EVERY_MODULE
def test_nothing_inside_is_no_number(module: str) -> None:
    layer, leaf = MODULES[module](), X.clone().requires_grad_()
    with torch.autograd.detect_anomaly(check_nan=True):
        (slope,) = torch.autograd.grad(value_of(layer, leaf), leaf)
    assert torch.equal(slope, torch.autograd.grad(value_of(layer, leaf), leaf)[0])


SETTINGS = (
    partialot.Sinkhorn(max_iter=7, tol=1e-3),
    partialot.ExactLP(max_iter=1000),
    partialot.Implicit(tol=1e-4, max_iter=9),
    partialot.Unrolled(),
    partialot.Envelope(),
    partialot.Status.CONVERGED,
)


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: type(settings).__name__)
@COPIES
def test_settings_are_equal_to_their_copies(settings: object, copied: Callable[[object], object]) -> None:
    assert copied(settings) == settings
    assert hash(copied(settings)) == hash(settings)


@pytest.mark.parametrize(
    "error", ["InfeasibleProblemError", "NotDifferentiableError", "SolverError", "ConvergenceWarning"]
)
def test_errors_reach_another_process_with_their_message(error: str) -> None:
    raised = getattr(partialot, error)("must, found, do")
    assert type(through_pickle(raised)) is type(raised)
    assert str(through_pickle(raised)) == "must, found, do"


def tensors_of(thing: object) -> list[Tensor]:
    """Every tensor that a public object holds, in the order of its attributes."""
    if isinstance(thing, Tensor):
        return [thing]
    parts = thing if isinstance(thing, tuple) else vars(thing).values() if hasattr(thing, "__dict__") else ()
    return [tensor for part in parts for tensor in tensors_of(part)]


def assert_same_tensors(found: object, expected: object) -> None:
    """Both hold the same numbers, in memory of their own."""
    pairs = list(zip(tensors_of(found), tensors_of(expected), strict=True))
    assert pairs
    for one, other in pairs:
        assert torch.equal(one, other)
        assert one.data_ptr() != other.data_ptr()


ANSWERS: dict[str, Callable[[], object]] = {
    "Solution": lambda: partialot.solve(torch.cdist(X, Y), A, mass=0.5, reg=0.1),
    "Solution, exact": lambda: partialot.solve(torch.cdist(X, Y), A, mass=0.5),
    "Problem": lambda: partialot.Problem.from_inputs(torch.cdist(X, Y), A, mass=0.5, reg=0.1),
    "Certificate": lambda: partialot.solve(torch.cdist(X, Y), A, mass=0.5, reg=0.1).certificate(),
    "DenseCost": lambda: partialot.DenseCost(X),
    "AugmentedProblem": lambda: partialot.augment(torch.cdist(X, Y), A, mass=0.5),
}


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("copied", [copy.deepcopy, through_pickle], ids=["deepcopy", "pickle"])
def test_copies_of_answers_hold_the_same_numbers(kind: str, copied: Callable[[object], object]) -> None:
    answer = ANSWERS[kind]()
    assert_same_tensors(copied(answer), answer)


def test_a_copied_solution_still_answers_and_starts_others() -> None:
    cost = torch.cdist(X, Y)
    solution = partialot.solve(cost, A, mass=0.5, reg=0.1)
    twin = through_pickle(solution)
    assert torch.equal(twin.apply(Y), solution.apply(Y))
    assert torch.equal(twin.certificate().gap, solution.certificate().gap)
    assert torch.equal(
        partialot.solve(cost, A, mass=0.5, reg=0.1, init=twin).n_iter,
        partialot.solve(cost, A, mass=0.5, reg=0.1, init=solution).n_iter,
    )


def test_a_pickled_solution_leaves_its_graph_behind() -> None:
    """PyTorch's rule for every tensor: pickling keeps numbers, deepcopy refuses what is not a leaf."""
    solution = partialot.solve(torch.cdist(X, Y).requires_grad_(), A, mass=0.5, reg=0.1)
    twin = through_pickle(solution)
    assert torch.equal(twin.plan, solution.plan)
    assert twin.value.is_leaf
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(solution)


class Matcher(nn.Module):
    """A layer of a network and the loss that trains it, in one forward pass, as parallel training needs it."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Linear(3, 3)
        self.loss = TransportLoss(cost="cosine", reg=0.2, mass=0.5)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.loss(self.features(x), self.features(y))


def seeded_matcher() -> Matcher:
    """The same network in every process."""
    torch.manual_seed(3)
    return Matcher()


def train_one_step(rank: int, folder: Path) -> None:
    """What each of two processes does: one backward pass on its half of the batch."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    network = nn.parallel.DistributedDataParallel(seeded_matcher())
    network(X[rank : rank + 1], Y[rank : rank + 1]).backward()
    torch.save([parameter.grad for parameter in network.parameters()], folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.skipif(not distributed.is_available() or not distributed.is_gloo_available(), reason="torch has no gloo")
def test_two_processes_find_the_gradient_of_one(tmp_path: Path) -> None:
    """The mean over two halves of a batch is the mean over the batch."""
    spawn(train_one_step, (tmp_path,), nprocs=2)
    network = seeded_matcher()
    network(X, Y).backward()
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for gradient, parameter in zip(found, network.parameters(), strict=True):
            assert parameter.grad is not None
            assert parameter.grad.abs().max() > 1e-4
            assert_close(gradient, parameter.grad, rtol=1e-4, atol=1e-7)
