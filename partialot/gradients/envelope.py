"""Derivatives of the value alone, for nothing more than the solve."""

from dataclasses import dataclass

from partialot.augmentation import BorderedProblem
from partialot.gradients.base import Answer, Gradient, answer_by_envelope, refuse
from partialot.potentials import RealPotentials
from partialot.problem import Problem
from partialot.solvers import Solver, SolverResult


@dataclass(frozen=True)
class Envelope(Gradient):
    """First derivatives of `value` by the envelope theorem; the plan refuses to be differentiated.

    A plan's derivative at frozen potentials exists in several libraries and is wrong by up to 30 times; it is not
    offered.
    """

    def attach(self, problem: Problem, bordered: BorderedProblem, solver: Solver, result: SolverResult) -> Answer:
        """Connect the value; see `Gradient.attach`."""
        known = bordered.real_potentials(result.f, result.g)
        potentials = RealPotentials(*(refuse(part, problem) for part in known))
        plan = None if result.plan is None else refuse(result.plan, problem)
        return answer_by_envelope(bordered, potentials, result, plan, entropic=solver.entropic)
