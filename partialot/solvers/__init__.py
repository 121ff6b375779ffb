"""How a bordered balanced problem is solved."""

from partialot.solvers.base import Solver, SolverResult, Status
from partialot.solvers.lp import ExactLP
from partialot.solvers.sinkhorn import Sinkhorn

__all__ = ["ExactLP", "Sinkhorn", "Solver", "SolverResult", "Status"]
