"""A problem whose rows are spread over two processes has the answer and the derivatives that one process finds."""

import os
import re
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed
from torch.multiprocessing.spawn import spawn
from torch.testing import assert_close

import partialot
from partialot import DenseCost, Envelope, PointCloud, ShardedRows, Sinkhorn, Unrolled
from partialot.geometry import Geometry

GLOO = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()),
    reason="this build of PyTorch has no gloo, over which two processes would talk",
)
PAGES = Path(__file__).parents[2] / "docs"
N, M = 14, 9
PARTS = slice(5), slice(5, None)
"""Uneven: 5 rows on the first rank, 9 on the second."""


def drawn(seed: int, *shape: int) -> Tensor:
    """Numbers that every process draws alike."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


COST, X, Y, WEIGHT = drawn(0, 2, N, M), drawn(1, N, 3), drawn(2, M, 3), drawn(3, N, M)
A, B = ((weights + 0.5) / (weights + 0.5).sum() for weights in (drawn(4, N), drawn(5, M)))
FORBIDDEN = COST.masked_fill(COST > 0.8, torch.inf)
ONE_SIDED = torch.cat((torch.zeros_like(A[PARTS[0]]), A[PARTS[1]]))
"""Nothing lies on the first rank."""
PROGRAM, PRINTED = re.findall(
    r"```python\n(.*?)```.*?```console\n.*?\n(.*?)```",
    (PAGES / "sharding.md").read_text(encoding="utf-8"),
    flags=re.DOTALL,
)[0]
NUMBER = partial(torch.tensor, dtype=torch.float64)
FINE = Sinkhorn(tol=1e-11)
Wrap = Callable[[Geometry], Geometry]


def dense(rows: slice, wrap: Wrap, cost: Tensor = COST, a: Tensor | None = A, **settings: Any) -> partialot.Solution:
    """Solve for some rows of stored costs."""
    weights, b = (None, None) if a is None else (a[rows], B)
    return partialot.solve(wrap(DenseCost(cost[:, rows])), weights, b, **({"reg": 0.1, "solver": FINE} | settings))


def cloud(rows: slice, wrap: Wrap, **settings: Any) -> partialot.Solution:
    """Solve for some points, whose prices are never stored."""
    return partialot.solve(wrap(PointCloud(X[rows], Y, storage="blocks")), A[rows], B, reg=0.1, solver=FINE, **settings)


def warm(rows: slice, wrap: Wrap) -> partialot.Solution:
    """Start from the solution of a problem with another mass."""
    return dense(rows, wrap, mass=0.5, init=dense(rows, wrap, mass=0.6))


PROBLEMS: Mapping[str, Callable[[slice, Wrap], partialot.Solution]] = {
    "balanced, uniform": partial(dense, a=None),
    "partial": partial(dense, mass=0.6),
    "partial, one mass each": partial(dense, mass=NUMBER([0.2, 0.7])),
    "forbidden pairs": partial(dense, cost=FORBIDDEN, mass=0.5),
    "nothing on one rank": partial(dense, a=ONE_SIDED, mass=0.3),
    "small reg, annealed": partial(dense, reg=0.01, solver=Sinkhorn(tol=1e-6, newton=False)),
    "far from any solution": partial(dense, cost=1e4 * COST, reg=1.0, mass=0.5, solver=Sinkhorn(max_iter=3)),
    "cloud, balanced": cloud,
    "cloud, partial": partial(cloud, mass=0.6, gradient=Envelope()),
    "warm start": warm,
}
OF_SOURCES = {"plan": -2, "f": -1, "marginal_a": -1}
"""What each rank knows of its own sources, and along which dimension."""


def told(solution: partialot.Solution) -> dict[str, Tensor]:
    """Everything that a solution tells."""
    names = (*OF_SOURCES, "g", "value", "mass_price", "marginal_b", "mass", "value_linear", "marginal_error")
    known = dict(zip("fg", solution.potentials, strict=True))
    return {name: known[name] if name in known else getattr(solution, name) for name in (*names, "n_iter", "status")}


def loss_of_rank(rank: int, solution: partialot.Solution, plan: Tensor, f: Tensor) -> Tensor:
    """A number of all that can be differentiated, another on each rank; `plan` and `f` are those of its sources."""
    rows = PARTS[rank]
    of_sources = (plan * WEIGHT[rows]).sum() + (f * A[rows]).sum()
    of_targets = (solution.potentials[1] * B).sum() + (solution.marginal_b.square() * B).sum()
    return of_sources + (rank + 1) * of_targets + (3 - rank) * (solution.value + solution.value_linear).sum()


def differentiated(rows: slice, wrap: Wrap, ranks: tuple[int, ...], *, lazy: bool) -> dict[str, Tensor]:
    """Give the derivatives of the ranks' losses by every input."""
    features = {"x": X[rows], "y": Y} if lazy else {"cost": COST[0, rows]}
    inputs = features | {"a": A[rows], "b": B, "mass": NUMBER(0.6), "reg": NUMBER(0.1)}
    leaves = {name: value.clone().requires_grad_() for name, value in inputs.items()}
    prices = PointCloud(leaves["x"], leaves["y"], storage="blocks") if lazy else DenseCost(leaves["cost"])
    a, b, mass, reg = (leaves[name] for name in ("a", "b", "mass", "reg"))
    solution = partialot.solve(wrap(prices), a, b, mass=mass, reg=reg, solver=FINE)
    plan, (f, _) = solution.plan, solution.potentials
    parts = [(plan, f)] if len(ranks) == 1 else [(plan[part], f[part]) for part in PARTS]
    losses = [loss_of_rank(rank, solution, *part) for rank, part in zip(ranks, parts, strict=True)]
    torch.stack(losses).sum().backward()
    return {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}


def twice_differentiated(rows: slice, wrap: Wrap, ranks: tuple[int, ...]) -> dict[str, Tensor]:
    """Give the derivative of a function of the value's derivative."""
    leaves = {"cost": COST[0, rows].clone().requires_grad_(), "b": B.clone().requires_grad_()}
    solution = partialot.solve(wrap(DenseCost(leaves["cost"])), A[rows], leaves["b"], mass=0.6, reg=0.1, solver=FINE)
    found = torch.autograd.grad(len(ranks) * solution.value, (*leaves.values(),), create_graph=True)
    (found[0] * WEIGHT[rows]).sum().backward()
    return {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}


DERIVATIVES: Mapping[str, Callable[[slice, Wrap, tuple[int, ...]], dict[str, Tensor]]] = {
    "dense": partial(differentiated, lazy=False),
    "cloud": partial(differentiated, lazy=True),
    "dense, twice": twice_differentiated,
}


def ill(rank: int) -> Mapping[str, Callable[[], object]]:
    """Calls that must fail on both ranks alike; what is wrong with some is wrong on the second only."""
    rows = PARTS[rank]
    costs = COST[:, rows]
    wrong_a, wrong_cost = (part.masked_fill(torch.tensor(rank == 1), torch.nan) for part in (A, COST))
    return {
        "weight": lambda: dense(rows, ShardedRows, a=wrong_a),
        "cost": lambda: dense(rows, ShardedRows, cost=wrong_cost),
        "b": lambda: partialot.solve(ShardedRows(DenseCost(costs)), A[rows], B.roll(rank), reg=0.1),
        "y": lambda: ShardedRows(PointCloud(X[rows], Y + rank)),
        "targets": lambda: ShardedRows(DenseCost(costs[..., rank:])),
        "requires_grad": lambda: ShardedRows(DenseCost(costs.clone().requires_grad_(rank == 1))),
        "solver": lambda: dense(rows, ShardedRows, solver=Sinkhorn(max_iter=10 + rank)),
        "init": lambda: dense(rows, ShardedRows, init=dense(PARTS[0], lambda own: own, a=None) if rank else None),
        "mass": lambda: dense(rows, ShardedRows, mass=1.5),
        "formulation": lambda: dense(rows, ShardedRows, mass=0.5, formulation="capped" if rank else "dummy"),
        "kind": lambda: ShardedRows(ShardedRows(DenseCost(costs))),
        "capped": lambda: dense(rows, ShardedRows, mass=0.5, formulation="capped"),
        "exact": lambda: dense(rows, ShardedRows, reg=None, solver=None),
        "unrolled": lambda: dense(rows, ShardedRows, gradient=Unrolled()),
        "certificate": lambda: dense(rows, ShardedRows).certificate(),
    }


SAID = {
    "weight": r"`a` must hold finite weights, at least 0\. Found nan\. Clamp",
    "cost": r"`cost` must hold numbers or \+inf .*\. Found nan in problem 0 of the batch\. Replace",
    "b": r"`b` must be the same on every rank\. Found .* on rank 0 and .* on rank 1 of the group\. Make it on one rank",
    "y": r"`y` must be the same on every rank\. Found .*\. Make it",
    "targets": r"`geometry` must be the same on every rank\. Found .*9 targets.* and .*8 targets.*\. Make it",
    "requires_grad": r"`requires_grad` must be the same on every rank\. Found \[False\] .* and \[True\] .*\. Make",
    "solver": r"`solver` must be the same on every rank\. Found .*max_iter=10.* and .*max_iter=11.*\. Make it",
    "init": r"`init` must solve a problem of the same shape\. Found one of .*\. Pass a solution of this batch",
    "mass": r"The mass to move must not exceed .*\. Found `mass = 1\.5` where at most 1 is available .*\. Pass",
    "kind": r"`geometry` must be this rank's rows .*\. Found ShardedRows\. Wrap",
    "formulation": r"`formulation='dummy'` .*\. Found `formulation='capped'`\. Pass those",
    "capped": r"`formulation='dummy'` .*\. Found `formulation='capped'`\. Pass those",
    "exact": r"Rows that are sharded must be solved with `reg`.*\. Found `reg=None`\. Pass those, or gather",
    "unrolled": r"`gradient=Implicit\(\)` or `Envelope\(\)`\. Found `gradient=Unrolled\(\)`\. Pass those",
    "certificate": r"A certificate needs every row in one process\. Found `ShardedRows`\. Judge the answer by",
}


def message_of(call: Callable[[], object]) -> str:
    """What a call that must fail says."""
    with pytest.raises((TypeError, ValueError)) as raised:
        call()
    return f"{raised.typename}: {raised.value}"


def printed_by(program: str) -> str:
    """What a program prints that finds itself in a group."""
    outside = re.sub(r"^distributed\.(init|destroy)_process_group.*$", "", program, flags=re.MULTILINE)
    with redirect_stdout(StringIO()) as said:
        exec(outside, {})
    return said.getvalue()


def work(rank: int, folder: Path) -> None:
    """What each of the two processes does, all in one: it starts for seconds."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    warnings.simplefilter("ignore", partialot.ConvergenceWarning)
    found = {
        "answers": {name: told(call(PARTS[rank], ShardedRows)) for name, call in PROBLEMS.items()},
        "derivatives": {name: call(PARTS[rank], ShardedRows, (rank,)) for name, call in DERIVATIVES.items()},
        "messages": {name: message_of(call) for name, call in ill(rank).items()},
        "printed": printed_by(PROGRAM),
    }
    torch.save(found, folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the ranks found."""
    folder = tmp_path_factory.mktemp("ranks")
    spawn(work, (folder,), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@GLOO
@pytest.mark.filterwarnings("ignore::partialot.ConvergenceWarning")
@pytest.mark.parametrize("name", PROBLEMS)
def test_ranks_find_the_answer_of_one_process(name: str, found: list[dict[str, Any]]) -> None:
    ranks = [rank["answers"][name] for rank in found]
    for what, expected in told(PROBLEMS[name](slice(None), lambda own: own)).items():
        ours = [rank[what] for rank in ranks]
        if what in OF_SOURCES:
            assert_close(torch.cat(ours, dim=OF_SOURCES[what]), expected, rtol=1e-9, atol=1e-9, msg=what)
        else:
            # Rounding may decide where the error crosses the tolerance: relaxed, it oscillates.
            assert_close(ours[0], expected, rtol=1e-9, atol=3 if what == "n_iter" else 1e-9, msg=what)
            assert torch.equal(ours[0], ours[1]), what


@GLOO
@pytest.mark.parametrize("name", DERIVATIVES)
def test_ranks_find_the_derivatives_of_the_sum_of_their_losses(name: str, found: list[dict[str, Any]]) -> None:
    """By its own rows each rank finds all of the derivative, by what is shared a part: the parts' sum is all of it."""
    ranks = [rank["derivatives"][name] for rank in found]
    for what, expected in DERIVATIVES[name](slice(None), lambda own: own, (0, 1)).items():
        ours = [rank[what] for rank in ranks]
        whole = torch.cat(ours) if what in ("cost", "x", "a") else ours[0] + ours[1]
        assert expected.abs().max() > 1e-3
        assert_close(whole, expected, rtol=1e-8, atol=1e-9, msg=what)


@GLOO
@pytest.mark.parametrize("name", SAID)
def test_what_is_wrong_on_one_rank_is_said_on_all(name: str, found: list[dict[str, Any]]) -> None:
    first, second = (rank["messages"][name] for rank in found)
    assert first == second
    assert re.search(SAID[name], first)


@GLOO
def test_the_program_of_the_page_prints_what_the_page_says(found: list[dict[str, Any]]) -> None:
    first, second = (rank["printed"] for rank in found)
    assert first == PRINTED
    assert not second


def test_without_a_group_there_are_no_ranks() -> None:
    with pytest.raises(
        RuntimeError, match=r"initialised group\. Found no group\. Call `torch\.distributed\.init_process"
    ):
        ShardedRows(DenseCost(COST))
