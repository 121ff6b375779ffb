"""OTT: its Sinkhorn on a matrix of prices or on points; and the border of dummy nodes that its users write."""

import importlib
import importlib.metadata
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tests.conformance.library import Answer, Array, Input, Library, NotOffered, Output, Points, Problem


class Ott(Library):
    """`ott.solvers.linear.sinkhorn`; balanced only."""

    name = "OTT"
    modes = ("implicit",)

    def __init__(self) -> None:
        self.jax = importlib.import_module("jax")
        # One switch for the process: single precision is asked for by the type of each array.
        self.jax.config.update("jax_enable_x64", True)
        self.version = importlib.metadata.version("ott-jax")
        self.geometry, self.pointcloud, self.costs = (
            importlib.import_module(f"ott.geometry.{name}") for name in ("geometry", "pointcloud", "costs")
        )
        self.linear_problem = importlib.import_module("ott.problems.linear.linear_problem")
        self.sinkhorn = importlib.import_module("ott.solvers.linear.sinkhorn")

    def entropic(self, problem: Problem) -> Answer:
        """One problem."""
        return _answer(self._solve(problem, self._given(problem)), problem)

    def mapped(self, problems: Sequence[Problem]) -> list[Answer]:
        """`jax.vmap`."""
        return self.entropic_batch(problems)

    def entropic_batch(self, problems: Sequence[Problem]) -> list[Answer]:
        """`jax.vmap`, which is its documented way."""
        self._check(problems[0])
        given = [self._given(problem) for problem in problems]
        names = [name for name, value in given[0].items() if value is not None]
        stacked = {name: np.stack([one[name] for one in given]) for name in names}

        def one(parts: dict[str, Any]) -> tuple[Any, ...]:
            out = self._solve(problems[0], given[0] | parts)
            return out.matrix, out.reg_ot_cost, out.converged, out.n_iters

        rows = zip(*self.jax.vmap(one)(stacked), strict=True)
        return [
            Answer(
                _block(plan, problem),
                float(value),
                converged=bool(converged),
                n_iter=int(n_iter),
                marginals=(_block(plan, problem).sum(1), _block(plan, problem).sum(0)),
            )
            for (plan, value, converged, n_iter), problem in zip(rows, problems, strict=True)
        ]

    def compiled(self, problem: Problem) -> Answer:
        """`jax.jit`."""
        given = self._given(problem)
        plan = self.jax.jit(lambda cost: self._solve(problem, given | {"cost": cost}).matrix)(given["cost"])
        return Answer(_block(plan, problem))

    def defaults(self, problem: Problem) -> Answer:
        """Cost and weights only: the temperature is chosen from the prices."""
        given = self._given(problem)
        geometry = self.geometry.Geometry(cost_matrix=given["cost"])
        out = self.sinkhorn.Sinkhorn()(self.linear_problem.LinearProblem(geometry, given["a"], given["b"]))
        return _answer(out, problem)

    def restarted(self, problem: Problem, max_iter: int) -> Answer:
        """By `init`."""
        given = self._given(problem)
        done = self._solve(problem, given)
        again = self._solve(replace(problem, max_iter=max_iter, tol=1e-12), given, init=(done.f, done.g))
        return _answer(again, problem)

    def from_points(self, points: Points) -> Answer:
        """`PointCloud` with its default price, |x − y|²."""
        x, y, a, b = (part.astype(points.dtype) for part in (points.x, points.y, points.a, points.b))
        geometry = self.pointcloud.PointCloud(x, y, epsilon=points.reg)
        solver = self.sinkhorn.Sinkhorn(threshold=1e-9 * float(a.sum()))
        return _answer(solver(self.linear_problem.LinearProblem(geometry, a, b)), Problem(np.empty((0, 0)), a, b))

    def gradient(self, problem: Problem, of: Output, to: Input, upstream: Array | None, mode: str) -> Array:
        """`jax.grad`, by implicit differentiation."""
        given = self._given(problem)

        def scalar(leaf: Any) -> Any:
            out = self._solve(problem, given | {to: leaf})
            if of == "plan":
                n, m = problem.cost.shape
                return (out.matrix[:n, :m] * upstream).sum()
            return out.reg_ot_cost if of == "value" else out.primal_cost

        return np.asarray(self.jax.grad(scalar)(given[to]), dtype=np.float64)

    def curvature(self, problem: Problem, direction: Array, mode: str) -> Array:
        """Forward over reverse, with `use_danskin=False` as its documentation asks for; the Hessian is symmetric."""
        given = self._given(problem)

        def value(cost: Any) -> Any:
            return self._solve(problem, given | {"cost": cost}, use_danskin=False).reg_ot_cost

        _, along = self.jax.jvp(self.jax.grad(value), (given["cost"],), (direction,))
        return np.asarray(along, dtype=np.float64)

    def euclidean(self, x: Array, y: Array) -> tuple[Array, Array]:
        """The Euclidean price of its point clouds."""

        def prices(x: Any) -> Any:
            cloud = self.pointcloud.PointCloud(x, y.astype(np.float32), cost_fn=self.costs.Euclidean())
            return cloud.cost_matrix

        points = x.astype(np.float32)
        slopes = self.jax.grad(lambda x: prices(x).sum())(points)
        return np.asarray(prices(points), dtype=np.float64), np.asarray(slopes, dtype=np.float64)

    def _given(self, problem: Problem) -> dict[str, Any]:
        """The arguments as arrays of the problem's type."""
        self._check(problem)
        fields = {"cost": problem.cost, "a": problem.a, "b": problem.b, "mass": problem.mass, "reg": problem.reg}
        return {
            name: None if value is None else np.asarray(value, dtype=problem.dtype) for name, value in fields.items()
        }

    def _check(self, problem: Problem) -> None:
        if problem.mass is not None:
            raise NotOffered

    def _solve(
        self, problem: Problem, given: dict[str, Any], *, init: Any = None, use_danskin: bool | None = None
    ) -> Any:
        moved = given["a"].sum() if given["mass"] is None else given["mass"]
        limits: dict[str, Any] = {} if problem.tol is None else {"threshold": problem.tol * moved}
        if problem.max_iter is not None:
            limits |= {"max_iterations": problem.max_iter, "inner_iterations": 10 if problem.max_iter >= 10 else 1}
        solver = self.sinkhorn.Sinkhorn(use_danskin=use_danskin, **limits)
        geometry = self.geometry.Geometry(cost_matrix=given["cost"], epsilon=given["reg"])
        linear = self.linear_problem.LinearProblem(geometry, given["a"], given["b"])
        return solver(linear) if init is None else solver(linear, init=init)


class OttBordered(Ott):
    """The same, partial problems written as balanced ones with one dummy node a side and an infinite corner."""

    name = "OTT, bordered by hand"

    def _check(self, problem: Problem) -> None:
        pass

    def _solve(
        self, problem: Problem, given: dict[str, Any], *, init: Any = None, use_danskin: bool | None = None
    ) -> Any:
        if problem.mass is None:
            return super()._solve(problem, given, init=init, use_danskin=use_danskin)
        numpy = self.jax.numpy
        cost, a, b, mass = (numpy.asarray(given[name]) for name in ("cost", "a", "b", "mass"))
        bordered = {
            "cost": numpy.pad(cost, ((0, 1), (0, 1))).at[-1, -1].set(numpy.inf),
            "a": numpy.append(a, b.sum() - mass),
            "b": numpy.append(b, a.sum() - mass),
        }
        return super()._solve(problem, given | bordered, init=init, use_danskin=use_danskin)


def _block(plan: Any, problem: Problem) -> Array:
    """The nodes of the problem itself; point clouds have no prices to count them by."""
    n, m = problem.cost.shape if problem.cost.size else np.shape(plan)
    return np.asarray(plan, dtype=np.float64)[:n, :m]


def _answer(out: Any, problem: Problem) -> Answer:
    return Answer(
        plan=_block(out.matrix, problem),
        value=float(out.reg_ot_cost),
        value_linear=float(out.primal_cost),
        potentials=(np.asarray(out.f, dtype=np.float64), np.asarray(out.g, dtype=np.float64)),
        converged=bool(out.converged),
        n_iter=int(out.n_iters),
    )
