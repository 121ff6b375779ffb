"""Rows of derivatives: the implicit backward pass beside the forward one, and products with the Hessian."""

import statistics
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from bench_gradients import WRONG, true_derivative
from comparison import finite, raised
from peers import flash
from peers.derivatives import Derivative, derivatives
from timing import gather, spread
from torch import Tensor
from tqdm import tqdm
from workload import Workload

import partialot
from gpu.bench import REG, Bench, Shape
from gpu.card import most_held
from gpu.clouds import Pair
from gpu.floors import backward
from gpu.outcome import Comparison, Figure, Outcome, Ratio
from partialot.kernels import dispatch

_ERROR = 1e-5
_SECONDS = 15.0


def implicit(bench: Bench, shape: Shape, target: float) -> Iterator[Outcome]:
    """The derivative of a function of the plan by the costs.

    Args:
        bench: Where it is measured.
        shape: Of the batch.
        target: The backward pass over the forward one.
    """
    workload = Workload(*shape, None, REG, _ERROR)
    cost = workload.cost().to(bench.device)
    upstream = torch.randn(cost.shape, generator=torch.Generator().manual_seed(1)).to(bench.device)
    exact = true_derivative(cost, upstream, workload)
    rows, runs = {}, {}
    for name, prepare in derivatives(workload):
        if name.startswith("OTT") and bench.device.type == "cuda":
            # It is asked where the costs are, or not at all.
            from peers import ott

            if not ott.serves(bench.device):
                continue
        try:
            runs[name] = prepare(cost, upstream, workload)
            rows[name] = _judge(runs[name], exact) | {"matrices": _held(runs[name], bench, cost)}
        except Exception as error:
            rows[name] = {"fault": raised(error)}
    right = {name: run for name, run in runs.items() if rows[name]["fault"] is None}
    for name, times in _turns(right, bench.rounds, bench.place.limit).items():
        rows[name] |= times
    ours = rows["partialot, Implicit"]
    if ours["fault"] is None:
        products = _products(runs["partialot, Implicit"])
        floor, made_of = backward(bench.ceilings, cost.numel(), products), f"{products} products, a read, a write"
        what = f"{shape[0]} × {shape[1]}², balanced, to {_ERROR:g}: implicit backward"
        yield Figure(what, {key: ours[f"backward_{key}"] for key in ("median_ms", "low_ms", "high_ms")}, floor, made_of)
        yield Ratio(f"{what}, over forward", ours["backward_median_ms"] / ours["forward_median_ms"], target)
    yield Comparison(f"{shape[0]} × {shape[1]}², a function of the plan, forward and backward", rows)


def hessian(bench: Bench, shape: Shape, target: float) -> Iterator[Outcome]:
    """The second derivative of the value by the points, times a vector, at a solution.

    Args:
        bench: Where it is measured.
        shape: Dimension and points.
        target: Milliseconds.
    """
    dimension, points = shape
    pair = Pair.of(dimension, points, bench.device)
    v = torch.randn(pair.x.shape, generator=torch.Generator().manual_seed(1)).to(bench.device)
    exact, _ = _second_derivative(pair.x.double(), pair.y.double(), v.double(), 1e-11)
    run, potentials = _second_derivative(pair.x, pair.y, v, _ERROR)
    ways = {"partialot": run}
    if flash.serves(bench.device):
        for name, dense in (("dense plan", True), ("streaming", False)):
            ways[f"FlashSinkhorn, {name}"] = partial(
                flash.hessian, pair.x, pair.y, v, potentials, pair.reg, dense=dense
            )
    truth, rows = exact(), {}
    for name, way in ways.items():
        try:
            error = float((way().double() - truth).norm() / truth.norm())
            rows[name] = {
                "error": finite(error),
                "fault": None if error <= WRONG else f"wrong by {error:.2g} of its norm",
            }
        except Exception as error:
            rows[name] = {"fault": raised(error)}
    right = {name: partial(bench.wall, ways[name]) for name, row in rows.items() if row["fault"] is None}
    times = gather(right, bench.rounds, "Hessian products", _SECONDS)
    what = f"d = {dimension}, {points:,} points: a product with the Hessian of the value"
    if "partialot" in times:
        products = _products(run)
        floor = backward(bench.ceilings, points**2, products)
        yield Figure(what, times["partialot"], floor, f"{products} products, a read, a write", target)
    yield Comparison(what, {name: row | times.get(name, {}) for name, row in rows.items()})


def _second_derivative(
    x: Tensor, y: Tensor, v: Tensor, tol: float
) -> tuple[Callable[[], Tensor], tuple[Tensor, Tensor]]:
    """Solve, and give what multiplies the Hessian with v, and the potentials."""
    leaf = x.clone().requires_grad_()
    solver = partialot.Sinkhorn(tol=tol)
    solution = partialot.solve(partialot.PointCloud(leaf, y, storage="matrix"), reg=REG, solver=solver)
    (first,) = torch.autograd.grad(solution.value.sum(), leaf, create_graph=True)
    f, g = solution.potentials
    along = (first * v).sum()
    return lambda: torch.autograd.grad(along, leaf, retain_graph=True)[0], (f.detach(), g.detach())


def _judge(run: Derivative, exact: Tensor) -> dict[str, Any]:
    error = float((run()[0].double() - exact).norm() / exact.norm())
    return {"error": finite(error), "fault": None if error <= WRONG else f"wrong by {error:.2g} of its norm"}


def _held(run: Derivative, bench: Bench, cost: Tensor) -> float:
    """The most memory of both passes, in matrices of costs."""
    return most_held(run, bench.device) / (4.0 * cost.numel())


def _turns(runs: dict[str, Derivative], rounds: int, limit: float) -> dict[str, dict[str, float]]:
    """Time both passes of each, interleaved."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for turn in tqdm(range(rounds), desc="forward and backward"):
        if turn >= 2 and sum(sum(map(sum, times)) for times in taken.values()) > limit:
            break
        for name, run in runs.items():
            _, ahead, back = run()
            taken[name].append((ahead, back))
    return {name: _summarised(times) for name, times in taken.items()}


def _summarised(times: list[tuple[float, float]]) -> dict[str, float]:
    ahead, back = ([1e3 * one for one in side] for side in zip(*times, strict=True))
    found = {"median_ms": statistics.median(one + other for one, other in zip(ahead, back, strict=True))}
    for name, side in (("forward", ahead), ("backward", back)):
        found |= {f"{name}_{key}": value for key, value in spread(side).items()}
    return found


def _products(run: Callable[[], object]) -> int:
    """Count the products with the plan that a run takes."""
    with patch.object(dispatch, "sandwich", wraps=dispatch.sandwich) as counted:
        run()
    return counted.call_count
