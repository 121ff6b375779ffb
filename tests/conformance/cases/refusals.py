"""What no plan can answer: refused, or marked on the result as no answer. A warning beside a plan is neither."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tests.conformance.cases.problems import REG, drawn, forbidding
from tests.conformance.judge import require_refused
from tests.conformance.library import Answer, Array, Library, NotOffered, Problem
from tests.partialot.oracles import solve_by_highs


def nan_costs_are_refused_by_the_exact_solver(library: Library) -> None:
    """Not taken for a pair that is free to avoid."""
    for mass in (None, 0.6):
        problem = drawn(mass=mass)
        require_refused(library, library.exact, replace(problem, cost=_with(problem.cost, np.nan)))


def nan_costs_are_refused_under_regularisation(library: Library) -> None:
    """Before a sweep spreads them."""
    _each_offered(library, lambda problem: replace(problem, cost=_with(problem.cost, np.nan)))


def infinite_gains_are_refused(library: Library) -> None:
    """A price of −inf has no cheapest plan."""
    _each_offered(library, lambda problem: replace(problem, cost=_with(problem.cost, -np.inf)))


def negative_weights_are_refused(library: Library) -> None:
    """Also where the totals agree."""

    def changed(problem: Problem) -> Problem:
        a, b = problem.weights()
        return replace(problem, a=a + np.array([-0.3, 0.3, 0.0, 0.0, 0.0, 0.0]), b=b)

    _each_offered(library, changed)


def nan_weights_are_refused(library: Library) -> None:
    """Comparisons with NaN are all false."""
    _each_offered(library, lambda problem: replace(problem, a=_with(problem.weights()[0], np.nan)))


def infinite_weights_are_refused(library: Library) -> None:
    """An endless supply is no weight."""
    _each_offered(library, lambda problem: replace(problem, a=_with(problem.weights()[0], np.inf)))


def unequal_totals_are_refused_by_the_exact_solver(library: Library) -> None:
    """At any size: compared to six decimals, 1e-7 and 2e-7 are the same."""
    plain = drawn(30, 30)
    a, b = plain.weights()
    for unit in (1.0, 1e-7):
        require_refused(library, library.exact, replace(plain, a=unit * a, b=2 * unit * b))


def unequal_totals_are_refused_under_regularisation(library: Library) -> None:
    """Balanced transport of 1 onto 2."""
    plain = drawn(reg=REG)
    require_refused(library, library.entropic, replace(plain, b=2 * plain.weights()[1]))


def more_mass_than_there_is_is_refused(library: Library) -> None:
    """Partial transport of 1.1 out of 1."""
    _by_all_offered(library, drawn(mass=1.1, reg=REG))


def negative_mass_is_refused(library: Library) -> None:
    """Partial transport of −0.1."""
    _by_all_offered(library, drawn(mass=-0.1, reg=REG))


def a_mass_that_is_nan_is_refused(library: Library) -> None:
    """Comparisons with NaN are all false."""
    _by_all_offered(library, drawn(mass=np.nan, reg=REG))


def balanced_problems_with_a_forbidden_row_are_refused(library: Library) -> None:
    """No plan exists; a plan of full mass would lie on forbidden pairs or leave the row out."""
    _by_all_offered(library, forbidding(drawn(reg=REG), *((2, j) for j in range(7))))


def too_little_room_beside_forbidden_pairs_is_refused(library: Library) -> None:
    """Every row and column has a pair left, and together they cannot carry the mass."""
    cost = np.full((3, 3), np.inf)
    cost[0, :], cost[:, 0] = 0.5, 0.5
    weights = np.full(3, 1.0 / 3.0)
    _by_all_offered(library, *(Problem(cost, weights, weights, mass, REG, max_iter=200) for mass in (None, 0.9)))


def negative_regularisation_is_refused(library: Library) -> None:
    """It would look for the dearest plan."""
    _entropic_only(library, -1.0)


def regularisation_of_zero_is_refused_or_exact(library: Library) -> None:
    """A division by 0 is no way to the linear programme."""

    def checked(problem: Problem) -> Answer:
        answer = library.entropic(problem)
        exact = solve_by_highs(problem.cost, *problem.weights(), problem.mass).plan
        is_exact = answer.plan is not None and np.allclose(answer.plan, exact)
        return replace(answer, converged=False) if is_exact else answer

    asked = 0
    for problem in (drawn(reg=0.0), drawn(mass=0.6, reg=0.0)):
        try:
            require_refused(library, checked, problem)
        except NotOffered:
            continue
        asked += 1
    if not asked:
        raise NotOffered


def regularisation_that_is_nan_is_refused(library: Library) -> None:
    """Comparisons with NaN are all false."""
    _entropic_only(library, np.nan)


def _with(array: Array, number: float) -> Array:
    changed = array.copy()
    changed.flat[1] = number
    return changed


def _offered(library: Library, problem: Problem) -> list[Callable[[Problem], Answer]]:
    """The operations that a library has for such a problem, found by asking for a sound one."""
    sound = drawn(mass=problem.mass and 0.6, reg=REG)
    offered: list[Callable[[Problem], Answer]] = []
    for call in (library.entropic, library.exact):
        try:
            call(sound)
        except NotOffered:
            continue
        except Exception:
            pass
        offered.append(call)
    return offered


def _each_offered(library: Library, change: Callable[[Problem], Problem]) -> None:
    """Balanced and partial, regularised; both must refuse, at least one must be offered."""
    asked = 0
    for plain in (drawn(reg=REG), drawn(mass=0.6, reg=REG)):
        try:
            require_refused(library, library.entropic, change(plain))
        except NotOffered:
            continue
        asked += 1
    if not asked:
        raise NotOffered


def _by_all_offered(library: Library, *problems: Problem) -> None:
    calls = [(call, problem) for problem in problems for call in _offered(library, problem)]
    if not calls:
        raise NotOffered
    for call, problem in calls:
        require_refused(library, call, problem)


def _entropic_only(library: Library, reg: float) -> None:
    _each_offered(library, lambda problem: replace(problem, reg=reg))


CASES = (
    nan_costs_are_refused_by_the_exact_solver,
    nan_costs_are_refused_under_regularisation,
    infinite_gains_are_refused,
    negative_weights_are_refused,
    nan_weights_are_refused,
    infinite_weights_are_refused,
    unequal_totals_are_refused_by_the_exact_solver,
    unequal_totals_are_refused_under_regularisation,
    more_mass_than_there_is_is_refused,
    negative_mass_is_refused,
    a_mass_that_is_nan_is_refused,
    balanced_problems_with_a_forbidden_row_are_refused,
    too_little_room_beside_forbidden_pairs_is_refused,
    negative_regularisation_is_refused,
    regularisation_of_zero_is_refused_or_exact,
    regularisation_that_is_nan_is_refused,
)
