"""What a solver is: an immutable object with one method."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from partialot.augmentation import BorderedProblem


class Status(IntEnum):
    """How a solve ended, problem by problem; `Solution.status` holds these numbers."""

    CONVERGED = 0
    """The constraint violation is at most the tolerance."""
    ITERATION_LIMIT = 1
    """`max_iter` was reached first: raise it, or `reg`, or `tol`."""
    PRECISION_FLOOR = 2
    """The violation stopped falling at the rounding error of the dtype: solve in float64, or raise `reg` or `tol`."""


Potentials = tuple[Tensor, Tensor]
"""Of the sources (batch, n + 1) and of the targets (batch, m + 1), the border's last."""


@dataclass(frozen=True, eq=False)
class SolverResult:
    """What a solver found for a flat batch, without any graph.

    Attributes:
        f: Potentials of the sources in units of `BorderedProblem.scale`, the border's last; float64.
        g: Potentials of the targets, likewise.
        plan: The plan in the user's units and type; None where the prices are lazy and potentials define it.
        moved: What the plan moves, in the user's units; float64.
        n_iter: Iterations spent on each problem.
        error: Constraint violation of the plan, relative to the mass.
        status: One `Status` for each problem.
        shortfall: What to warn of, where a problem missed something else than a violation; empty where none did.
    """

    f: Float[Tensor, "batch sources"]
    g: Float[Tensor, "batch targets"]
    plan: Float[Tensor, "batch n m"] | None
    moved: Float[Tensor, " batch"]
    n_iter: Int[Tensor, " batch"]
    error: Float[Tensor, " batch"]
    status: Int[Tensor, " batch"]
    shortfall: str = ""


class Solver(ABC):
    """Finds potentials, and with them the plan, of a bordered balanced problem.

    Attributes:
        entropic: Whether it solves the problem with `reg` or the one without.
    """

    entropic: ClassVar[bool]

    @abstractmethod
    def run(
        self,
        problem: BorderedProblem,
        init: Potentials | None,
    ) -> SolverResult:
        """Solve, recording no graph.

        Args:
            problem: A flat batch.
            init: Potentials to start from, in units of the problem's scale; None = from scratch.
        """
