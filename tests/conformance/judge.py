"""What passes: the measures of the suite, and the sentences in which it says what it found."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.conformance.library import Answer, Array, Library, NotOffered, Problem

EXACT = 1e-9
"""Of a linear programme's value, relative to the price range times the mass."""
ACCURATE = 1e-3
"""Of an entropic plan, in mass that lies elsewhere than in the optimum, relative to the mass: the loosest figure that
users of a plan live with, so that what fails is a fault and not a matter of taste."""
GRADIENT = 1e-3
"""Of a derivative, relative to its size."""
NOISE = (DeprecationWarning, SyntaxWarning, FutureWarning, ImportWarning, ResourceWarning)


class Fault(Exception):
    """The library's answer is not the right one; the message is what was found."""


@dataclass(frozen=True)
class Heard:
    """An answer and whether a warning came with it."""

    answer: Answer
    warned: bool

    @property
    def told(self) -> bool:
        """Whether the caller was told that the answer is not the one asked for."""
        return self.answer.converged is False or self.warned

    @property
    def plan(self) -> Array:
        """The plan; a library without one cannot be asked for it."""
        if self.answer.plan is None:
            raise NotOffered
        return self.answer.plan


def listen(call: Callable[[Problem], Answer], problem: Problem) -> Heard:
    """Call and note warnings, other than those about the code itself."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        answer = call(problem)
    return Heard(answer, any(not issubclass(warning.category, NOISE) for warning in heard))


def require(right: bool, found: str) -> None:
    """Fail with what was found."""
    if not right:
        raise Fault(found)


def violation(plan: Array, problem: Problem) -> float:
    """How far a plan is from feasible, relative to the mass: rows, columns and mass, the largest of the three."""
    a, b = problem.weights()
    rows, columns = plan.sum(1) - a, plan.sum(0) - b
    if problem.mass is not None:
        rows, columns = rows.clip(min=0), columns.clip(min=0)
    worst = max(np.abs(rows).sum(), np.abs(columns).sum(), abs(plan.sum() - problem.moved))
    return float(worst / (problem.moved or 1.0))


def require_plan(heard: Heard, problem: Problem, optimum: Array, *, within: float = ACCURATE) -> None:
    """The plan is the optimum, up to `within` of the mass."""
    plan = heard.plan
    require(bool(np.isfinite(plan).all()), f"{_how(heard)}NaN or inf in the plan")
    apart = float(np.abs(plan - optimum).sum() / (problem.moved or 1.0))
    require(apart <= within, f"{_how(heard)}{apart:.2g} of the mass lies elsewhere than in the optimum")


def require_feasible(heard: Heard, problem: Problem, *, within: float = ACCURATE) -> None:
    """The plan keeps the weights and moves the mass, up to `within` of it, and forbidden pairs carry nothing."""
    plan = heard.plan
    require(bool(np.isfinite(plan).all()), f"{_how(heard)}NaN or inf in the plan")
    forbidden = plan[np.isinf(problem.cost)].sum()
    require(forbidden == 0, f"{_how(heard)}{forbidden:.2g} on forbidden pairs")
    off = violation(plan, problem)
    require(off <= within, f"{_how(heard)}weights or mass violated by {off:.2g} of the mass (moved {plan.sum():.4g})")


def require_feasible_or_told(heard: Heard, problem: Problem, *, within: float = ACCURATE) -> None:
    """A plan that is not feasible comes with a flag or a warning, and is finite all the same."""
    require(bool(np.isfinite(heard.plan).all()), f"{_how(heard)}NaN or inf in the plan")
    if not heard.told:
        require_feasible(heard, problem, within=within)


def require_cheapest(heard: Heard, problem: Problem, optimum: float, *, within: float | None = None) -> None:
    """The plan is feasible and costs what the optimum costs, up to `within` of it (default: rounding of the range)."""
    require_feasible(heard, problem, within=EXACT)
    used = heard.plan > 0
    paid = float((problem.cost[used] * heard.plan[used]).sum())
    finite = problem.cost[np.isfinite(problem.cost)]
    allowed = EXACT * problem.moved * float(np.ptp(finite) or 1.0) if within is None else within * abs(optimum)
    found = f"{_how(heard)}costs {paid:.6g} where {optimum:.6g} is enough"
    require(abs(paid - optimum) <= allowed, f"{found} ({paid / optimum - 1:+.2%})" if optimum else found)


def require_refused(library: Library, call: Callable[[Problem], Answer], problem: Problem) -> None:
    """An impossible request is refused by an exception made for it, or the result says that it is none."""
    try:
        heard = listen(call, problem)
    except library.refusals:
        return
    if heard.answer.converged is False:
        return
    plan = heard.plan
    what = "NaN" if not np.isfinite(plan).all() else f"a plan of mass {plan.sum():.4g}"
    raise Fault(f"{what}, {'only a warning' if heard.warned else 'no word'}")


def require_gradient(found: Array, truth: Array) -> None:
    """Two derivatives agree."""
    require(bool(np.isfinite(found).all()), f"{int((~np.isfinite(found)).sum())} of {found.size} are NaN or inf")
    off = float(np.abs(found - truth).max() / np.abs(truth).max())
    where = np.unravel_index(np.abs(found - truth).argmax(), found.shape)
    require(off <= GRADIENT, f"{found[where]:.4g} instead of {truth[where]:.4g}")


def _how(heard: Heard) -> str:
    if heard.answer.converged:
        return "called converged: "
    return "with a warning: " if heard.warned else ""
