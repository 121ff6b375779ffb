"""GeomLoss: the solver for matrices of its new interface, and the loss between samples of its old one."""

import importlib
import importlib.metadata
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.conformance.libraries.tensors import array, bytes_kept, differentiate, tensor, tensors
from tests.conformance.library import Answer, Array, Input, Library, NotOffered, Output, Points, Problem

_DEFAULT_SWEEPS = 1_000
"""`max_iter` may not be left out, and `tol` is not implemented: the figure its documentation shows."""


class GeomLoss(Library):
    """`geomloss.ot.solve` and `solve_batch`: balanced, on a matrix of prices."""

    name = "GeomLoss"
    modes = ("autograd",)
    takes_tolerance = False
    # Its own assertions say what they want, if not always of which argument.
    refusals = (ValueError, TypeError, NotImplementedError, AssertionError)

    def __init__(self) -> None:
        self.ot = importlib.import_module("geomloss.ot")
        self.version = importlib.metadata.version("geomloss")

    def entropic(self, problem: Problem) -> Answer:
        """`solve`."""
        return _answer(self._solve(problem, tensors(problem)))

    def entropic_batch(self, problems: Sequence[Problem]) -> list[Answer]:
        """`solve_batch`, with one `reg` for all."""
        if any(problem.mass is not None for problem in problems) or len({problem.reg for problem in problems}) > 1:
            raise NotOffered
        stacks = zip(*((problem.cost, *problem.weights()) for problem in problems), strict=True)
        cost, a, b = (tensor(np.stack(stack), problems[0].dtype) for stack in stacks)
        sweeps = problems[0].max_iter or _DEFAULT_SWEEPS
        result = self.ot.solve_batch(cost, a=a, b=b, reg=problems[0].reg, max_iter=sweeps)
        plans, rows, columns = (array(part) for part in (result.plan, result.marginal_a, result.marginal_b))
        return [
            Answer(plan, float(value), marginals=(rows[index], columns[index]))
            for index, (plan, value) in enumerate(zip(plans, result.value, strict=True))
        ]

    def defaults(self, problem: Problem) -> Answer:
        """`reg` and `max_iter` may not be left out."""
        raise NotOffered

    def gradient(self, problem: Problem, of: Output, to: Input, upstream: Array | None, mode: str) -> Array:
        """Backward through the result."""
        if problem.mass is not None or to == "reg" or of == "value_linear":
            raise NotOffered
        given = tensors(problem, differentiable=True)
        leaf = getattr(given, to)
        result = self._solve(problem, given)
        outputs: dict[Output, Tensor] = {of: result.value if of == "value" else result.plan}
        return differentiate(outputs, of, leaf, upstream)

    def curvature(self, problem: Problem, direction: Array, mode: str) -> Array:
        """Twice through the value."""
        given = tensors(problem, differentiable=True)
        (slope,) = torch.autograd.grad(self._solve(problem, given).value, given.cost, create_graph=True)
        return differentiate({"value": (slope * tensor(direction, "float64")).sum()}, "value", given.cost, None)

    def saved_bytes(self, problem: Problem, mode: str) -> int:
        """What autograd stores."""
        given = tensors(problem)
        given.cost.requires_grad_()
        return bytes_kept(lambda: self._solve(problem, given).value)

    def _solve(self, problem: Problem, given: Any) -> Any:
        if problem.mass is not None:
            raise NotOffered
        sweeps = _DEFAULT_SWEEPS if problem.max_iter is None else problem.max_iter
        return self.ot.solve(given.cost, a=given.a, b=given.b, reg=problem.reg, max_iter=sweeps)


class SamplesLoss(Library):
    """`geomloss.SamplesLoss("sinkhorn")` at its default scaling, without debiasing."""

    name = "GeomLoss, SamplesLoss"

    def __init__(self) -> None:
        self.package = importlib.import_module("geomloss")
        self.version = importlib.metadata.version("geomloss")

    def from_points(self, points: Points) -> Answer:
        """Its price is |x − y|²/2 and its temperature blur²: half of ours, both; the plan follows from potentials."""
        x, y, a, b = (tensor(part, points.dtype) for part in (points.x, points.y, points.a, points.b))
        settings: dict[str, Any] = {"p": 2, "blur": (points.reg / 2) ** 0.5, "debias": False}
        value = 2 * float(self.package.SamplesLoss("sinkhorn", **settings)(a, x, b, y))
        f, g = self.package.SamplesLoss("sinkhorn", **settings, potentials=True)(a, x, b, y)
        f, g = (array(side).reshape(-1) for side in (f, g))
        half_price = np.square(points.x[:, None] - points.y[None]).sum(-1) / 2
        density = np.exp((f[:, None] + g - half_price) / (points.reg / 2))
        return Answer(points.a[:, None] * points.b * density, value)


def _answer(result: Any) -> Answer:
    return Answer(
        plan=array(result.plan),
        value=float(result.value),
        potentials=(array(result.potential_a), array(result.potential_b)),
    )
