"""Derivatives of the value alone, for nothing more than the solve."""

from dataclasses import dataclass

from partialot.augmentation import BorderedProblem
from partialot.gradients.base import Answer, Gradient, answer_from_potentials, refuse
from partialot.problem import Problem
from partialot.solvers import Potentials, Solver, SolverResult


@dataclass(frozen=True)
class Envelope(Gradient):
    """First derivatives of `value` by the envelope theorem; the plan refuses to be differentiated.

    A plan's derivative at frozen potentials exists in several libraries and is wrong by up to 30 times; it is not
    offered.
    """

    def attach(
        self, problem: Problem, bordered: BorderedProblem, solver: Solver, result: SolverResult, init: Potentials | None
    ) -> Answer:
        """Connect the value; see `Gradient.attach`."""
        f, g = refuse(result.f, problem), refuse(result.g, problem)
        if result.plan is None:
            plan = bordered.plan(result.f, result.g).detach()
        else:
            plan = result.plan * bordered.total.detach().to(result.plan.dtype)[:, None, None]
        return answer_from_potentials(problem, bordered, f, g, refuse(plan, problem), entropic=result.plan is None)
