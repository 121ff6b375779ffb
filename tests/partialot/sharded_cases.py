"""What is solved, differentiated and refused on one process and on two, as functions of the rows that a rank holds."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

import partialot
from partialot import DenseCost, Envelope, PointCloud, ShardedRows, Sinkhorn, Unrolled
from partialot.geometry import Geometry

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
        "price": lambda: dense(rows, ShardedRows, mass=partialot.Price(0.4)),
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
    "price": r"with `reg`, without a price, .*\. Found a `Price`\. Pass those",
    "exact": r"Rows that are sharded must be solved with `reg`.*\. Found `reg=None`\. Pass those, or gather",
    "unrolled": r"`gradient=Implicit\(\)` or `Envelope\(\)`\. Found `gradient=Unrolled\(\)`\. Pass those",
    "certificate": r"A certificate needs every row in one process\. Found `ShardedRows`\. Judge the answer by",
}
