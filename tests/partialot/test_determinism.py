"""The same numbers in, the same bits out: reruns, threads, layouts, and each problem of a batch as if alone."""

from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor
from torch.testing import assert_close

import partialot
from partialot.kernels import native
from tests.partialot.problems import Batch, batches, random_problem
from tests.partialot.properties import SINKHORN, SOLVERS, reg_for

BOTH = pytest.mark.parametrize("solver", SOLVERS)


def _solve(batch: Batch, solver: str) -> partialot.Solution:
    reg = reg_for(solver, batch.reg)
    return partialot.solve(batch.cost, batch.a, batch.b, mass=batch.mass, reg=reg, solver=SOLVERS[solver])


def _assert_same(one: Tensor, other: Tensor, solver: str) -> None:
    """Bits are promised with native kernels: batched products of plain PyTorch may round otherwise than single ones."""
    if solver == "Sinkhorn" and native.library() is None:
        assert_close(one, other, rtol=1e-3, atol=1e-4)
    else:
        assert torch.equal(one, other)


@BOTH
@settings(max_examples=40)
@given(batch=batches())
def test_a_broadcast_batch_is_bit_equal_to_the_loop(solver: str, batch: Batch) -> None:
    together = _solve(batch, solver)
    expected = torch.broadcast_shapes(
        batch.cost.shape[:-2],
        batch.a.shape[:-1],
        batch.b.shape[:-1],
        batch.mass.shape,
        batch.reg.shape if SOLVERS[solver].entropic else (),
    )
    assert together.plan.shape[:-2] == together.value.shape == together.n_iter.shape == expected
    for index in torch.cartesian_prod(*(torch.arange(size) for size in batch.shape)).reshape(-1, len(batch.shape)):
        place = tuple(index.tolist())
        problem = batch.problem(place)
        alone = partialot.solve(
            problem.cost,
            problem.a,
            problem.b,
            mass=problem.mass,
            reg=reg_for(solver, problem.reg),
            solver=SOLVERS[solver],
        )
        _assert_same(together.plan.expand(*batch.shape, *together.plan.shape[-2:])[place], alone.plan, solver)
        _assert_same(together.value.expand(batch.shape)[place], alone.value, solver)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Set the number of threads, and put it back afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_reruns_and_threads_change_no_bit(solver: str, dtype: torch.dtype, threads: Callable[[int], None]) -> None:
    cost, reg = torch.rand(3, 70, 90, dtype=dtype), reg_for(solver, 0.05)
    plans = []
    for count in (1, 1, 2):
        threads(count)
        plans.append(partialot.solve(cost, mass=0.4, reg=reg).plan)
    assert torch.equal(plans[0], plans[1])
    assert torch.equal(plans[0], plans[2])


def _transposed(tensor: Tensor) -> Tensor:
    return tensor.mT.contiguous().mT


def _strided(tensor: Tensor) -> Tensor:
    return tensor.repeat_interleave(2, -1)[..., ::2]


@BOTH
@pytest.mark.parametrize("layout", [_transposed, _strided], ids=["transposed", "strided"])
def test_the_layout_in_memory_changes_no_bit(solver: str, layout: Callable[[Tensor], Tensor]) -> None:
    cost, reg = torch.rand(2, 20, 30, dtype=torch.float64), reg_for(solver, 0.05)
    assert not layout(cost).is_contiguous()
    straight, other = (
        partialot.solve(tensor, mass=0.4, reg=reg, solver=SOLVERS[solver]) for tensor in (cost, layout(cost))
    )
    assert torch.equal(straight.plan, other.plan)


@BOTH
def test_expanded_inputs_are_solved_as_their_copies(solver: str) -> None:
    cost = torch.rand(1, 5, 6, dtype=torch.float64).expand(3, 5, 6)
    weights = torch.full((1,), 0.2, dtype=torch.float64).expand(5)
    reg = reg_for(solver, 0.05)
    expanded, copied = (
        partialot.solve(c, a, mass=0.4, reg=reg)
        for c, a in ((cost, weights), (cost.contiguous(), weights.contiguous()))
    )
    assert torch.equal(expanded.plan, copied.plan)


@BOTH
def test_inputs_are_never_changed(solver: str) -> None:
    problem = random_problem()
    given_tensors = [problem.cost, problem.a, problem.b, torch.tensor(0.6, dtype=torch.float64)]
    copies = [tensor.clone() for tensor in given_tensors]
    cost, a, b, mass = (tensor.requires_grad_() for tensor in given_tensors)
    solution = partialot.solve(cost, a, b, mass=mass, reg=reg_for(solver, 0.1))
    solution.value.backward()
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(given_tensors, copies, strict=True))


def test_gradients_rerun_to_the_same_bits() -> None:
    found = []
    for _ in range(2):
        cost = random_problem().cost.requires_grad_()
        partialot.solve(cost, mass=0.5, reg=0.05, solver=SINKHORN).plan.square().sum().backward()
        found.append(cost.grad)
    assert torch.equal(*found)


def test_a_hard_neighbour_changes_no_bit_of_an_easy_problem() -> None:
    cost = torch.rand(2, 10, 12, dtype=torch.float64)
    mass, reg = torch.tensor([0.3, 0.5], dtype=torch.float64), torch.tensor([0.5, 0.01], dtype=torch.float64)
    together = partialot.solve(cost, mass=mass, reg=reg, solver=SINKHORN)
    for i in range(2):
        alone = partialot.solve(cost[i], mass=mass[i], reg=reg[i], solver=SINKHORN)
        _assert_same(together.plan[i], alone.plan, "Sinkhorn")
        _assert_same(together.potentials[0][i], alone.potentials[0], "Sinkhorn")


def test_a_neighbour_whose_sums_leave_the_range_changes_no_bit() -> None:
    """Next to nothing moves in the first problem, whose columns are therefore summed again in the log domain."""
    cost, mass = torch.rand(2, 20, 20, dtype=torch.float64), torch.tensor([0.0, 0.5], dtype=torch.float64)
    together = partialot.solve(cost, mass=mass, reg=0.05)
    _assert_same(together.plan[1], partialot.solve(cost[1], mass=0.5, reg=0.05).plan, "Sinkhorn")
