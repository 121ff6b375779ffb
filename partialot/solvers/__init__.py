"""How a bordered balanced problem is solved."""

from partialot.solvers.annealed_lp import AnnealedLP
from partialot.solvers.base import Potentials, Solver, SolverResult, Status
from partialot.solvers.lp import ExactLP
from partialot.solvers.sinkhorn import Sinkhorn

__all__ = ["AnnealedLP", "ExactLP", "Potentials", "Sinkhorn", "Solver", "SolverResult", "Status"]
