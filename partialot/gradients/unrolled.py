"""Derivatives of the iterations themselves."""

from dataclasses import dataclass

from partialot.augmentation import BorderedProblem, restrict_potentials
from partialot.gradients.base import Answer, Gradient, dual_objective
from partialot.problem import Problem
from partialot.solvers import Sinkhorn, Solver, SolverResult


@dataclass(frozen=True)
class Unrolled(Gradient):
    """Automatic differentiation through every sweep: the derivative of the computed plan and value, converged or not.

    Memory grows with the sweeps by potentials only, n + m numbers each; matrices are recomputed in the backward pass.
    Slower than `Implicit` by the number of sweeps; use it to check, or where a fixed small number of sweeps is the
    model.
    """

    def attach(self, problem: Problem, bordered: BorderedProblem, solver: Solver, result: SolverResult) -> Answer:
        """Repeat the sweeps with a graph; see `Gradient.attach`.

        Raises:
            ValueError: The solver has no sweeps to unroll.
        """
        if not isinstance(solver, Sinkhorn):
            raise ValueError(
                f"`gradient=Unrolled()` needs a solver that iterates. Found {type(solver).__name__}. "
                "Pass `reg`, or `gradient=Implicit()` for the dual derivatives of the exact value."
            )
        potentials = bordered.real_potentials(*solver.unroll(bordered, result.n_iter))
        plan = bordered.plan(potentials)
        value = dual_objective(problem, bordered, potentials, plan)
        duals = restrict_potentials(problem, bordered, potentials)
        return Answer(plan, value, duals.of_a, duals.g, duals.mass_price)
