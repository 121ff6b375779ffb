"""partialot, by its public names."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

import partialot
from tests.conformance.libraries.tensors import Tensors, array, bytes_kept, differentiate, tensor, tensors
from tests.conformance.library import Answer, Array, Input, Library, Output, Points, Problem

_MODES = {"Implicit": partialot.Implicit(), "Unrolled": partialot.Unrolled(), "Envelope": partialot.Envelope()}


class Ours(Library):
    """`partialot.solve`: one function for all of it."""

    name = "partialot"
    version = partialot.__version__
    modes = tuple(_MODES)
    refusals = (ValueError, TypeError, partialot.NotDifferentiableError)

    def exact(self, problem: Problem) -> Answer:
        """Without `reg`."""
        given = tensors(problem)
        return _answer(partialot.solve(given.cost, given.a, given.b, mass=problem.mass))

    def exact_without_mass(self, problem: Problem) -> Answer:
        """Without `mass` the transport is balanced."""
        given = tensors(problem)
        return _answer(partialot.solve(given.cost, given.a, given.b))

    def exact_batch(self, problems: Sequence[Problem]) -> list[Answer]:
        """Leading dimensions."""
        return _answers(partialot.solve(**_stacked(problems)))

    def entropic(self, problem: Problem) -> Answer:
        """With `reg`."""
        return _answer(_solve(problem, tensors(problem), partialot.Implicit()))

    def entropic_batch(self, problems: Sequence[Problem]) -> list[Answer]:
        """Leading dimensions."""
        return _answers(partialot.solve(**_stacked(problems), solver=_solver(problems[0])))

    def mapped(self, problems: Sequence[Problem]) -> list[Answer]:
        """`torch.func.vmap` over `solve`."""
        given = [tensors(problem) for problem in problems]
        first = problems[0]

        def plan(cost: Tensor, a: Tensor, b: Tensor) -> Tensor:
            return partialot.solve(cost, a, b, mass=first.mass, reg=first.reg, solver=_solver(first)).plan

        stacked = [torch.stack([getattr(one, name) for one in given]) for name in ("cost", "a", "b")]
        return [Answer(array(one)) for one in torch.func.vmap(plan)(*stacked)]

    def compiled(self, problem: Problem) -> Answer:
        """`torch.compile` with the backend that runs the captured graph as it is."""
        given = tensors(problem)

        def plan(cost: Tensor) -> Tensor:
            return partialot.solve(cost, given.a, given.b, mass=problem.mass, reg=problem.reg).plan

        torch.compiler.reset()
        return Answer(array(torch.compile(plan, backend="eager")(given.cost)))

    def defaults(self, problem: Problem) -> Answer:
        """Cost and weights only."""
        given = tensors(problem)
        return _answer(partialot.solve(given.cost, given.a, given.b))

    def restarted(self, problem: Problem, max_iter: int) -> Answer:
        """By `init`."""
        given = tensors(problem)
        done = _solve(problem, given, partialot.Implicit())
        solver = partialot.Sinkhorn(max_iter=max_iter, tol=1e-12)
        again = partialot.solve(
            given.cost, given.a, given.b, mass=problem.mass, reg=problem.reg, solver=solver, init=done
        )
        return _answer(again)

    def from_points(self, points: Points) -> Answer:
        """The squared Euclidean matching."""
        matching = partialot.nn.TransportMatching(cost="sqeuclidean", reg=points.reg)
        return _answer(matching(*(tensor(part, points.dtype) for part in (points.x, points.y, points.a, points.b))))

    def gradient(self, problem: Problem, of: Output, to: Input, upstream: Array | None, mode: str) -> Array:
        """Backward through any mode."""
        given = tensors(problem, differentiable=True)
        leaf = getattr(given, to)
        solution = _solve(problem, given, _MODES[mode])
        outputs: dict[Output, Tensor] = {
            "value": solution.value,
            "value_linear": solution.value_linear,
            "plan": solution.plan,
        }
        return differentiate(outputs, of, leaf, upstream)

    def exact_gradient(self, problem: Problem, to: Input) -> Array:
        """The dual variables of the linear programme."""
        given = tensors(problem, differentiable=True)
        leaf = getattr(given, to)
        partialot.solve(given.cost, given.a, given.b, mass=given.mass).value.backward()
        return array(leaf.grad)

    def curvature(self, problem: Problem, direction: Array, mode: str) -> Array:
        """Twice through the value."""
        given = tensors(problem)
        value = _solve(problem, Tensors(given.cost.requires_grad_(), *_rest(given)), _MODES[mode]).value
        (slope,) = torch.autograd.grad(value, given.cost, create_graph=True)
        (second,) = torch.autograd.grad((slope * tensor(direction, problem.dtype)).sum(), given.cost)
        return array(second)

    def euclidean(self, x: Array, y: Array) -> tuple[Array, Array]:
        """The prices of a `PointCloud`."""
        points = tensor(x, "float32").requires_grad_()
        prices = partialot.PointCloud(points, tensor(y, "float32"), "euclidean").matrix()
        prices.sum().backward()
        return array(prices), array(points.grad)  # pyright: ignore[reportArgumentType]

    def saved_bytes(self, problem: Problem, mode: str) -> int:
        """What autograd stores."""
        given = tensors(problem)
        given.cost.requires_grad_()
        return bytes_kept(lambda: _solve(problem, given, _MODES[mode]).value)


def _solver(problem: Problem) -> partialot.Sinkhorn:
    chosen = {"max_iter": problem.max_iter, "tol": problem.tol}
    return partialot.Sinkhorn(**{name: value for name, value in chosen.items() if value is not None})  # pyright: ignore[reportArgumentType]


def _solve(problem: Problem, given: Tensors, gradient: Any) -> partialot.Solution:
    return partialot.solve(
        given.cost,
        given.a,
        given.b,
        # A plain number, unless something is differentiated through it.
        mass=given.mass if given.mass is not None and given.mass.requires_grad else problem.mass,
        reg=given.reg if given.reg is not None and given.reg.requires_grad else problem.reg,
        solver=_solver(problem),
        gradient=gradient,
    )


def _rest(given: Tensors) -> tuple[Tensor | None, ...]:
    return given.a, given.b, given.mass, given.reg


def _stacked(problems: Sequence[Problem]) -> dict[str, Any]:
    """One tensor an argument; what the first problem leaves out is left out."""
    dtype = problems[0].dtype
    fields = {name: [getattr(problem, name) for problem in problems] for name in ("cost", "a", "b", "mass", "reg")}
    return {name: None if values[0] is None else tensor(np.stack(values), dtype) for name, values in fields.items()}


def _answers(solution: partialot.Solution) -> list[Answer]:
    f, g = solution.potentials
    return [
        Answer(
            plan=array(solution.plan[index]),
            value=float(solution.value[index]),
            value_linear=float(solution.value_linear[index]),
            potentials=(array(f[index]), array(g[index])),
            converged=bool(solution.converged[index]),
            n_iter=int(solution.n_iter[index]),
            marginals=(array(solution.marginal_a[index]), array(solution.marginal_b[index])),
        )
        for index in range(len(solution.value))
    ]


def _answer(solution: partialot.Solution) -> Answer:
    f, g = solution.potentials
    return Answer(
        plan=array(solution.plan),
        value=float(solution.value),
        value_linear=float(solution.value_linear),
        potentials=(array(f), array(g)),
        converged=bool(solution.converged),
        n_iter=int(solution.n_iter),
    )
