"""Differentiable optimal transport for PyTorch: balanced and absolute partial, with a certificate for every answer."""

from partialot import nn
from partialot.augmentation import augment
from partialot.certificate import Certificate
from partialot.errors import ConvergenceWarning, InfeasibleProblemError, NotDifferentiableError, SolverError
from partialot.geometry import DenseCost, PointCloud, ShardedRows
from partialot.gradients import Envelope, Implicit, Unrolled
from partialot.inputs import Price
from partialot.problem import Problem
from partialot.solution import Solution
from partialot.solvers import ExactLP, Sinkhorn, Status
from partialot.transport import solve

__all__ = [
    "Certificate",
    "ConvergenceWarning",
    "DenseCost",
    "Envelope",
    "ExactLP",
    "Implicit",
    "InfeasibleProblemError",
    "NotDifferentiableError",
    "PointCloud",
    "Price",
    "Problem",
    "ShardedRows",
    "Sinkhorn",
    "Solution",
    "SolverError",
    "Status",
    "Unrolled",
    "augment",
    "nn",
    "solve",
]
__version__ = "0.1.0"
