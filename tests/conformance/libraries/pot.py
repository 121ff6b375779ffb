"""POT: its functions for one problem, and their variants in the log domain."""

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.conformance.libraries.tensors import array, bytes_kept, differentiate, tensor, tensors
from tests.conformance.library import Answer, Array, Input, Library, NotOffered, Output, Points, Problem

# Its annotations promise less than it returns.
ot: Any = importlib.import_module("ot")

_MODES = ("autodiff", "envelope", "last_step")


class Pot(Library):
    """`ot.emd`, `ot.solve` and `ot.partial`, at their default methods."""

    name = "POT"
    version = ot.__version__
    formulation = "capped"
    modes = _MODES
    # Its totals are compared by NumPy's assertion, whose message says what differs.
    refusals = (ValueError, TypeError, AssertionError)
    partial_method = "sinkhorn"

    def exact(self, problem: Problem) -> Answer:
        """`ot.emd`, or `ot.partial.partial_wasserstein`."""
        given = _arguments(problem)
        if problem.mass is None:
            return Answer(_plain(ot.emd(given["a"], given["b"], given["M"])))
        return Answer(_plain(ot.partial.partial_wasserstein(**given, m=problem.mass)))

    def exact_without_mass(self, problem: Problem) -> Answer:
        """`ot.partial.partial_wasserstein` without `m`."""
        return Answer(_plain(ot.partial.partial_wasserstein(**_arguments(problem))))

    def entropic(self, problem: Problem) -> Answer:
        """`ot.solve` with `reg`, or `ot.partial.entropic_partial_wasserstein`."""
        given = _arguments(problem)
        if problem.mass is not None:
            return self._partial(problem, given)
        limits = _named(max_iter=problem.max_iter, tol=problem.tol)
        return _answer(ot.solve(given["M"], given["a"], given["b"], reg=problem.reg, **limits))

    def _partial(self, problem: Problem, given: dict[str, Any]) -> Answer:
        plan, log = ot.partial.entropic_partial_wasserstein(
            **given,
            reg=problem.reg,
            m=problem.mass,
            method=self.partial_method,
            log=True,
            **_named(numItermax=problem.max_iter),
        )
        # It notes an error every tenth sweep.
        return Answer(_plain(plan), n_iter=10 * len(log["err"]))

    def defaults(self, problem: Problem) -> Answer:
        """`ot.solve` with cost and weights only."""
        given = _arguments(problem)
        return _answer(ot.solve(given["M"], given["a"], given["b"]))

    def mapped(self, problems: Sequence[Problem]) -> list[Answer]:
        """`torch.func.vmap` over `ot.solve`."""
        stacked = [torch.stack(part) for part in zip(*map(_weights_and_cost, problems), strict=True)]

        def plan(a: Tensor, b: Tensor, cost: Tensor) -> Tensor:
            return ot.solve(cost, a, b, reg=problems[0].reg).plan

        return [Answer(array(one)) for one in torch.func.vmap(plan)(*stacked)]

    def compiled(self, problem: Problem) -> Answer:
        """`torch.compile` over `ot.solve`, with the backend that runs the captured graph as it is."""
        a, b, cost = _weights_and_cost(problem)
        torch.compiler.reset()
        solve = torch.compile(lambda cost: ot.solve(cost, a, b, reg=problem.reg).plan, backend="eager")
        return Answer(array(solve(cost)))

    def restarted(self, problem: Problem, max_iter: int) -> Answer:
        """By `potentials_init`."""
        given = _arguments(problem)
        inputs = given["M"], given["a"], given["b"]
        done = ot.solve(*inputs, reg=problem.reg, max_iter=problem.max_iter, tol=problem.tol)
        again = ot.solve(*inputs, reg=problem.reg, max_iter=max_iter, tol=1e-12, potentials_init=done.potentials)
        return _answer(again)

    def from_points(self, points: Points) -> Answer:
        """`ot.solve_sample`."""
        x, y, a, b = (part.astype(points.dtype) for part in (points.x, points.y, points.a, points.b))
        return _answer(ot.solve_sample(x, y, a, b, reg=points.reg, max_iter=2000, tol=1e-9))

    def gradient(self, problem: Problem, of: Output, to: Input, upstream: Array | None, mode: str) -> Array:
        """Backward through `ot.solve`; of partial plans through the sweeps."""
        given = tensors(problem, differentiable=True)
        leaf = getattr(given, to)
        if problem.mass is not None:
            if mode != "autodiff" or of == "value":
                raise NotOffered
            plan = ot.partial.entropic_partial_wasserstein(given.a, given.b, given.cost, given.reg, m=given.mass)
            return differentiate({"plan": plan, "value_linear": (given.cost * plan).sum()}, of, leaf, upstream)
        limits = {"max_iter": problem.max_iter, "tol": problem.tol}
        result = ot.solve(given.cost, given.a, given.b, reg=given.reg, grad=mode, **limits)
        outputs: dict[Output, Tensor] = {
            "value": result.value,
            "value_linear": result.value_linear,
            "plan": result.plan,
        }
        return differentiate(outputs, of, leaf, upstream)

    def exact_gradient(self, problem: Problem, to: Input) -> Array | None:
        """Backward through `ot.emd2` or `ot.partial.partial_wasserstein2`."""
        given = tensors(problem, differentiable=True)
        leaf = getattr(given, to)
        if problem.mass is None:
            ot.emd2(given.a, given.b, given.cost).backward()
        else:
            ot.partial.partial_wasserstein2(given.a, given.b, given.cost, m=given.mass).backward()
        return None if leaf.grad is None else array(leaf.grad)

    def curvature(self, problem: Problem, direction: Array, mode: str) -> Array:
        """Twice through the value of `ot.solve`."""
        given = tensors(problem)
        given.cost.requires_grad_()
        limits = {"max_iter": problem.max_iter, "tol": problem.tol}
        value = ot.solve(given.cost, given.a, given.b, reg=problem.reg, grad=mode, **limits).value
        (slope,) = torch.autograd.grad(value, given.cost, create_graph=True)
        return differentiate({"value": (slope * tensor(direction, "float64")).sum()}, "value", given.cost, None)

    def saved_bytes(self, problem: Problem, mode: str) -> int:
        """What autograd stores."""
        given = tensors(problem)
        given.cost.requires_grad_()
        limits = {"max_iter": problem.max_iter, "tol": problem.tol}
        return bytes_kept(lambda: ot.solve(given.cost, given.a, given.b, reg=problem.reg, grad=mode, **limits).value)

    def euclidean(self, x: Array, y: Array) -> tuple[Array, Array]:
        """`ot.dist`."""
        return _prices(x, y, lambda x, y: ot.dist(x, y, metric="euclidean"))


class PotLog(Library):
    """The variants in the log domain: `ot.sinkhorn` and `entropic_partial_wasserstein` with `sinkhorn_log`."""

    name = "POT, log domain"
    version = ot.__version__
    formulation = "capped"

    def entropic(self, problem: Problem) -> Answer:
        """Either function."""
        given = _arguments(problem)
        if problem.mass is not None:
            return _LOG_PARTIAL._partial(problem, given)
        limits = _named(numItermax=problem.max_iter, stopThr=problem.tol)
        plan, log = ot.sinkhorn(**given, reg=problem.reg, method="sinkhorn_log", log=True, **limits)
        return Answer(_plain(plan), potentials=(log["log_u"] * problem.reg, log["log_v"] * problem.reg))

    def restarted(self, problem: Problem, max_iter: int) -> Answer:
        """By `warmstart`."""
        given = _arguments(problem)
        settings: dict[str, Any] = {"reg": problem.reg, "method": "sinkhorn_log", "log": True}
        _, log = ot.sinkhorn(**given, **settings, numItermax=problem.max_iter, stopThr=problem.tol)
        start = (log["log_u"], log["log_v"])
        plan, _ = ot.sinkhorn(**given, **settings, numItermax=max_iter, stopThr=1e-12, warmstart=start)
        return Answer(_plain(plan))


class _PotLogPartial(Pot):
    partial_method = "sinkhorn_log"


_LOG_PARTIAL = _PotLogPartial()


def _named(**settings: float | None) -> dict[str, Any]:
    """The settings that a problem states; the others keep their defaults."""
    return {name: value for name, value in settings.items() if value is not None}


def _arguments(problem: Problem) -> dict[str, Any]:
    """Weights and cost as arrays, or as tensors where the problem says so."""
    if problem.tensors:
        a, b, cost = _weights_and_cost(problem)
        return {"a": a, "b": b, "M": cost}
    a, b = problem.weights()
    return {name: part.astype(problem.dtype) for name, part in (("a", a), ("b", b), ("M", problem.cost))}


def _weights_and_cost(problem: Problem) -> tuple[Tensor, Tensor, Tensor]:
    given = tensors(problem)
    assert given.a is not None
    assert given.b is not None
    return given.a, given.b, given.cost


def _plain(plan: Any) -> Array:
    return array(plan) if isinstance(plan, Tensor) else np.asarray(plan, dtype=np.float64)


def _prices(x: Array, y: Array, function: Any) -> tuple[Array, Array]:
    points = tensor(x, "float32").requires_grad_()
    prices = function(points, tensor(y, "float32"))
    prices.sum().backward()
    return array(prices), array(points.grad)  # pyright: ignore[reportArgumentType]


def _answer(result: Any) -> Answer:
    return Answer(
        plan=_plain(result.plan),
        value=float(result.value),
        value_linear=None if result.value_linear is None else float(result.value_linear),
        potentials=None if result.potentials is None else tuple(_plain(side) for side in result.potentials),  # pyright: ignore[reportArgumentType]
        converged=None if result.status is None else bool(result.status == "converged"),
    )
