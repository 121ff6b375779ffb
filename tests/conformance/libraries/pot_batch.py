"""POT's batch module, which solves balanced problems only."""

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.conformance.libraries.tensors import array, bytes_kept, differentiate, tensor
from tests.conformance.library import Answer, Array, Input, Library, NotOffered, Output, Problem

# Its annotations promise less than it returns.
ot: Any = importlib.import_module("ot")
importlib.import_module("ot.batch")


class PotBatch(Library):
    """`ot.batch.solve_batch`; one problem is a batch of one."""

    name = "POT, batch"
    version = ot.__version__
    convention = "entropy"
    modes = ("autodiff", "envelope", "last_step")

    def exact_batch(self, problems: Sequence[Problem]) -> list[Answer]:
        """`solve_batch` without `reg`."""
        return self._solve(problems)

    def entropic(self, problem: Problem) -> Answer:
        """A batch of one."""
        return self._solve([problem])[0]

    def entropic_batch(self, problems: Sequence[Problem]) -> list[Answer]:
        """A batch; it takes one `reg` for all."""
        if len({problem.reg for problem in problems}) > 1:
            raise NotOffered
        return self._solve(problems)

    def gradient(self, problem: Problem, of: Output, to: Input, upstream: Array | None, mode: str) -> Array:
        """Backward through a batch of one."""
        if to == "mass" or problem.mass is not None:
            raise NotOffered
        given = {
            name: torch.as_tensor(value, dtype=torch.float64).requires_grad_()
            for name, value in _stacked([problem]).items()
        }
        leaf = given[{"cost": "M"}.get(to, to)]
        result = ot.batch.solve_batch(**given, **_limits(problem), grad=mode)
        outputs: dict[Output, Tensor] = {
            "value": result.value,
            "value_linear": result.value_linear,
            "plan": result.plan[0],
        }
        return differentiate(outputs, of, leaf, upstream).reshape(np.shape(getattr(problem, to)))

    def curvature(self, problem: Problem, direction: Array, mode: str) -> Array:
        """Twice through the value."""
        given = _stacked([problem])
        given["M"].requires_grad_()
        value = ot.batch.solve_batch(**given, **_limits(problem), grad=mode).value
        (slope,) = torch.autograd.grad(value.sum(), given["M"], create_graph=True)
        return differentiate({"value": (slope[0] * tensor(direction, "float64")).sum()}, "value", given["M"], None)[0]

    def saved_bytes(self, problem: Problem, mode: str) -> int:
        """What autograd stores."""
        given = _stacked([problem])
        given["M"].requires_grad_()
        return bytes_kept(lambda: ot.batch.solve_batch(**given, **_limits(problem), grad=mode).value.sum())

    def euclidean(self, x: Array, y: Array) -> tuple[Array, Array]:
        """`dist_batch`."""
        points = tensor(x, "float32").requires_grad_()
        prices = ot.batch.dist_batch(points[None], tensor(y, "float32")[None], metric="euclidean")[0]
        prices.sum().backward()
        return array(prices), array(points.grad)  # pyright: ignore[reportArgumentType]

    def _solve(self, problems: Sequence[Problem]) -> list[Answer]:
        if any(problem.mass is not None for problem in problems):
            raise NotOffered
        result = ot.batch.solve_batch(**_stacked(problems), **_limits(problems[0]))
        value, linear = (np.atleast_1d(array(part)) for part in (result.value, result.value_linear))
        converged = None if result.status is None else bool(result.status == "converged")
        rows, columns = array(result.marginal_a), array(result.marginal_b)
        return [
            Answer(
                plan=array(result.plan[index]),
                value=float(value[index]),
                value_linear=float(linear[index]),
                potentials=None
                if result.potentials is None
                else (array(result.potentials[0][index]), array(result.potentials[1][index])),
                converged=converged,
                n_iter=int(result.log["n_iter"]),
                marginals=(rows[index], columns[index]),
            )
            for index in range(len(problems))
        ]


def _limits(problem: Problem) -> dict[str, Any]:
    chosen = {"max_iter": problem.max_iter, "tol": problem.tol}
    return {name: value for name, value in chosen.items() if value is not None}


def _stacked(problems: Sequence[Problem]) -> dict[str, Any]:
    weights = [problem.weights() for problem in problems]
    arrays = {
        "M": [problem.cost for problem in problems],
        "a": [a for a, _ in weights],
        "b": [b for _, b in weights],
    }
    dtype = problems[0].dtype if problems else "float64"
    return {name: tensor(np.stack(parts), dtype) for name, parts in arrays.items()} | {"reg": problems[0].reg}
