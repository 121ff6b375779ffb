"""What the suite may ask of a library, in NumPy arrays, and how a library says that it does not offer something."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Output = Literal["value", "value_linear", "plan"]
Input = Literal["cost", "a", "b", "mass", "reg"]
Formulation = Literal["dummy", "capped"]
Convention = Literal["kl", "entropy"]


class NotOffered(Exception):
    """The library has no such function, or its documentation excludes the request."""


@dataclass(frozen=True)
class Problem:
    """One transport problem, as a caller would write it down.

    Attributes:
        cost: Prices (n, m), `inf` = forbidden.
        a: Mass at the sources (n,); None leaves the argument out.
        b: Mass at the targets (m,).
        mass: Total to move; None = balanced.
        reg: Entropic regularisation in units of the cost; None = the linear programme.
        tol: Marginal error to reach, relative to the mass; None leaves the library its default.
        max_iter: Most sweeps; None likewise.
        dtype: Name of the type of numbers that the library is handed.
        tensors: Whether a library that takes arrays and tensors is handed tensors.
    """

    cost: Array
    a: Array | None
    b: Array | None
    mass: float | None = None
    reg: float | None = None
    tol: float | None = 1e-9
    max_iter: int | None = 2_000
    dtype: str = "float64"
    tensors: bool = False

    @property
    def moved(self) -> float:
        """Mass that a plan must move."""
        if self.mass is not None:
            return self.mass
        return float(self.weights()[0].sum())

    def weights(self) -> tuple[Array, Array]:
        """The weights of a problem that states them."""
        assert self.a is not None
        assert self.b is not None
        return self.a, self.b


@dataclass(frozen=True)
class Points:
    """A problem between two clouds, price |x − y|²; `dtype` and weights as in `Problem`."""

    x: Array
    y: Array
    a: Array
    b: Array
    reg: float
    dtype: str = "float64"


@dataclass(frozen=True)
class Answer:
    """What a library returned; None where it does not tell.

    Attributes:
        plan: (n, m).
        value: Its objective.
        value_linear: Its ⟨C, P⟩.
        potentials: What it documents as dual variables.
        converged: Its own word for whether it finished.
        n_iter: Sweeps spent.
        marginals: What it says that each node gives and gets.
    """

    plan: Array | None
    value: float | None = None
    value_linear: float | None = None
    potentials: tuple[Array, Array] | None = None
    converged: bool | None = None
    n_iter: int | None = None
    marginals: tuple[Array, Array] | None = None


class Library:
    """One entry point of a library; an operation that is not overridden is not offered.

    Attributes:
        name: Heading of the column.
        version: Of what is installed.
        formulation: How mass is left behind in the entropic problem: dummy nodes, or capped marginals.
        convention: The entropy in its objective: KL to a⊗b, or Σ P log P.
        modes: Names of the ways in which it differentiates.
        takes_tolerance: Whether the error to reach can be chosen; `Problem.tol` does not arrive where it cannot.
        refusals: What it raises on purpose.
    """

    name: str
    version: str
    formulation: Formulation = "dummy"
    convention: Convention = "kl"
    modes: tuple[str, ...] = ()
    takes_tolerance: bool = True
    refusals: tuple[type[Exception], ...] = (ValueError, TypeError)

    def exact(self, problem: Problem) -> Answer:
        """Solve the linear programme."""
        raise NotOffered

    def exact_without_mass(self, problem: Problem) -> Answer:
        """Call the partial function and leave its mass out."""
        raise NotOffered

    def exact_batch(self, problems: Sequence[Problem]) -> list[Answer]:
        """Solve several linear programmes in one call."""
        raise NotOffered

    def entropic(self, problem: Problem) -> Answer:
        """Solve the regularised problem."""
        raise NotOffered

    def entropic_batch(self, problems: Sequence[Problem]) -> list[Answer]:
        """Solve several regularised problems in one call."""
        raise NotOffered

    def mapped(self, problems: Sequence[Problem]) -> list[Answer]:
        """Solve them by the vectorising transform of the framework."""
        raise NotOffered

    def compiled(self, problem: Problem) -> Answer:
        """Solve under the compiler of the framework."""
        raise NotOffered

    def defaults(self, problem: Problem) -> Answer:
        """Call the solver with nothing but cost and weights."""
        raise NotOffered

    def restarted(self, problem: Problem, max_iter: int) -> Answer:
        """Solve, then solve again from that answer with at most `max_iter` sweeps."""
        raise NotOffered

    def from_points(self, points: Points) -> Answer:
        """Solve between point clouds; without `plan` where the library gives the value only."""
        raise NotOffered

    def gradient(self, problem: Problem, of: Output, to: Input, upstream: Array | None, mode: str) -> Array:
        """Differentiate `of` (weighted by `upstream` where it is the plan) with respect to `to`."""
        raise NotOffered

    def exact_gradient(self, problem: Problem, to: Input) -> Array | None:
        """Differentiate the value of the linear programme; None where the library leaves none."""
        raise NotOffered

    def curvature(self, problem: Problem, direction: Array, mode: str) -> Array:
        """Differentiate ⟨∂value/∂cost, direction⟩ with respect to the cost."""
        raise NotOffered

    def saved_bytes(self, problem: Problem, mode: str) -> int:
        """Bytes that a differentiable solve keeps for the value's backward pass."""
        raise NotOffered

    def euclidean(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Euclidean prices in float32 and the gradient of their sum with respect to x."""
        raise NotOffered
