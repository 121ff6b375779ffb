"""Derivatives of the iterations themselves."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from partialot.augmentation import BorderedProblem
from partialot.duals import restrict_potentials
from partialot.gradients.base import Answer, Gradient, dual_objective
from partialot.kernels import reference
from partialot.modes import recomputed
from partialot.problem import Problem
from partialot.solvers import Sinkhorn, Solver, SolverResult

_Potentials = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Unrolled(Gradient):
    """Automatic differentiation through every sweep: the derivative of the computed plan and value, converged or not.

    Sweeps are plain, without over-relaxation, annealing or Newton steps. Memory grows with them by potentials only,
    n + m numbers each; matrices are recomputed in the backward pass. Slower than `Implicit` by the number of sweeps;
    use it to check, or where a fixed small number of sweeps is the model. Lazy prices are written out.
    """

    def prepare(self, solver: Solver) -> Solver:
        """Make every sweep plain; see `Gradient.prepare`.

        Raises:
            ValueError: The solver has no sweeps to unroll.
        """
        if not isinstance(solver, Sinkhorn):
            raise ValueError(
                f"`gradient=Unrolled()` needs a solver that iterates. Found {type(solver).__name__}. "
                "Pass `reg`, or `gradient=Implicit()` for the dual derivatives of the exact value."
            )
        return replace(solver, over_relaxation=False, annealing=False, newton=False)

    def attach(self, problem: Problem, bordered: BorderedProblem, solver: Solver, result: SolverResult) -> Answer:
        """Repeat the sweeps with a graph; see `Gradient.attach`."""
        bordered = replace(bordered, shift=_lowest(bordered))
        potentials = bordered.real_potentials(*_unroll(bordered, result.n_iter))
        density = reference.bounded_exp(
            potentials.f.unsqueeze(-1) + (potentials.g + potentials.mass).unsqueeze(-2) - bordered.scaled_cost()
        )
        weights = bordered.total[:, None, None] * bordered.a[:, :-1, None] * bordered.b[:, None, :-1]
        plan = (weights * density).to(problem.a.dtype)
        value = dual_objective(bordered, potentials, (weights * density).sum((-2, -1)))
        duals = restrict_potentials(bordered, potentials)
        return Answer(plan, value, duals.of_a, duals.g, duals.mass_price)


def _lowest(bordered: BorderedProblem) -> Tensor:
    """Give the smallest price of pairs with weight, with its graph: unconverged potentials depend on their origin."""
    cost = bordered.problem.flat_cost(slice(None))
    if not cost.numel():
        return bordered.shift
    carrying = (bordered.a[:, :-1, None] > 0) & (bordered.b[:, None, :-1] > 0)
    lowest = torch.where(carrying, cost, torch.inf).amin((-2, -1))
    return torch.where(lowest.isfinite(), lowest, 0.0).double()


def _unroll(problem: BorderedProblem, n_iter: Tensor) -> _Potentials:
    """Repeat, from scratch, as many sweeps as each problem took, recording a graph that keeps potentials only."""
    f, g = torch.zeros_like(problem.a), torch.zeros_like(problem.b)
    cost = problem.scaled_cost().double()
    for sweep in range(int(n_iter.max()) if n_iter.numel() else 0):
        running = (n_iter > sweep).unsqueeze(-1)
        # The matrices of a sweep are recomputed in the backward pass; keeping them all would take too much memory.
        new_f, new_g = recomputed(_sweep, problem, cost, f, g)
        f, g = torch.where(running, new_f, f), torch.where(running, new_g, g)
    return _complete(problem, cost, f, g)


def _sweep(problem: BorderedProblem, cost: Tensor, f: Tensor, g: Tensor) -> _Potentials:
    """Do one sweep by its definition, for automatic differentiation."""
    f = reference.softmin(cost, g, problem.b)
    g = reference.softmin(cost.mT, f, problem.a)
    log_real = reference.log_sums(cost.mT, f[:, :-1], problem.a[:, :-1])
    log_mass = reference.log_sums(-log_real.unsqueeze(-2), g[:, :-1], problem.b[:, :-1])
    mass = problem.mass.clamp(min=torch.finfo(f.dtype).tiny).unsqueeze(-1)
    step = torch.where(log_mass.isfinite(), mass.log() - torch.where(log_mass.isfinite(), log_mass, 0.0), 0.0)
    return torch.cat((f[:, :-1] + step, f[:, -1:]), dim=-1), torch.cat((g[:, :-1], g[:, -1:] - step), dim=-1)


def _complete(problem: BorderedProblem, cost: Tensor, f: Tensor, g: Tensor) -> _Potentials:
    """Give nodes of weight 0, which took no part, the potentials that the others imply."""
    if bool((problem.a <= 0).any()):
        f = torch.where(problem.a > 0, f, reference.softmin(cost, g, problem.b))
    if bool((problem.b <= 0).any()):
        g = torch.where(problem.b > 0, g, reference.softmin(cost.mT, f, problem.a))
    return f, g
