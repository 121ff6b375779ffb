"""How a regularised solve ends, and whether its settings count.

At its tolerance; at its limit, with a word; at the rounding of its type.
"""

from dataclasses import replace

import numpy as np

from tests.conformance.cases.problems import REG, drawn, plan_of
from tests.conformance.judge import (
    ACCURATE,
    listen,
    require,
    require_feasible,
    require_feasible_or_told,
    require_plan,
    violation,
)
from tests.conformance.library import Library, NotOffered, Problem


def balanced_plans_at_a_hundredth_of_the_range_are_right_or_told_to_be_unfinished(library: Library) -> None:
    """A sweep count is no promise: what was not reached must be said."""
    problem = drawn(30, 30, reg=0.01)
    require_feasible_or_told(listen(library.entropic, problem), problem)


def balanced_plans_at_a_thousandth_of_the_range_are_right_or_told_to_be_unfinished(library: Library) -> None:
    """With default limits."""
    problem = replace(drawn(5, 6, reg=1e-3), tol=None, max_iter=None)
    require_feasible_or_told(listen(library.entropic, problem), problem)


def partial_plans_at_a_thousandth_of_the_range_are_finite_and_feasible_or_told_not_to_be(library: Library) -> None:
    """Fault F7: exponentials of −1000 are 0 in any precision."""
    problem = drawn(30, 30, mass=0.6, reg=1e-3)
    require_feasible_or_told(listen(library.entropic, problem), problem)


def partial_plans_at_default_limits_are_feasible_or_told_not_to_be(library: Library) -> None:
    """Fault F8: a run that ends at its limit of sweeps and says nothing; reg a ten-thousandth of the range."""
    problem = replace(drawn(20, 20, mass=0.6, reg=1e-4), tol=None, max_iter=None)
    require_feasible_or_told(listen(library.entropic, problem), problem)


def an_easy_problem_ends_long_before_the_limit_of_sweeps(library: Library) -> None:
    """Fault F8: a default tolerance that can never be met."""
    heard = listen(library.entropic, replace(drawn(mass=0.6, reg=1.0), tol=None, max_iter=None))
    if heard.answer.n_iter is None:
        raise NotOffered
    require(heard.answer.n_iter < 500, f"{heard.answer.n_iter} sweeps")


def a_tiny_mass_called_converged_has_been_moved(library: Library) -> None:
    """An error measured against all weights does not see a mass of 1e-8; default tolerance."""
    problem = replace(drawn(20, 30, mass=1e-8, reg=0.01), tol=None, max_iter=None)
    heard = listen(library.entropic, problem)
    moved = float(heard.plan.sum()) / 1e-8
    if not heard.told:
        require(abs(moved - 1) <= 0.01, f"called done at {moved:.4g} times the mass")


def a_small_mass_takes_no_more_sweeps_than_half(library: Library) -> None:
    """Alternating updates alone need sweeps in proportion to 1/mass."""
    half, small = (listen(library.entropic, drawn(mass=mass, reg=REG)).answer for mass in (0.5, 1e-4))
    if half.n_iter is None or small.n_iter is None:
        raise NotOffered
    require(small.n_iter <= 2 * half.n_iter + 20, f"{small.n_iter} sweeps against {half.n_iter} at half the mass")


def constant_costs_are_solved_with_default_settings(library: Library) -> None:
    """A temperature taken from the spread of the prices is 0 here."""
    problem = replace(drawn(), cost=np.full((6, 7), 2.0))
    require_feasible(listen(library.defaults, problem), problem)


def no_sweep_at_all_is_an_unfinished_answer(library: Library) -> None:
    """`max_iter=0`: a finite plan and a word that it is not done, or a refusal; never a crash."""
    for problem in (drawn(reg=0.02), drawn(mass=0.6, reg=0.02)):
        try:
            heard = listen(library.entropic, replace(problem, max_iter=0))
        except library.refusals:
            continue
        except NotOffered:
            if problem.mass is None:
                raise
            return
        require(bool(np.isfinite(heard.plan).all()), "NaN or inf in the plan")
        off = violation(heard.plan, problem)
        require(heard.told or off <= ACCURATE, f"weights violated by {off:.2g} of the mass, no word")


def a_tolerance_below_the_rounding_of_the_type_is_told(library: Library) -> None:
    """1e-12 cannot be reached in float32; spinning to the limit in silence is no answer."""
    if not library.takes_tolerance:
        raise NotOffered
    problem = replace(drawn(30, 30, reg=0.05), dtype="float32", tol=1e-12)
    heard = listen(library.entropic, problem)
    off = violation(heard.plan, problem)
    require(heard.told or off <= 1e-12, f"error {off:.2g} after the last sweep, no word")


def half_precision_is_computed_in_single(library: Library) -> None:
    """Only the answer may be rounded to float16; a refusal is as good. The inputs are exact in float16."""
    cost = np.random.default_rng(0).uniform(size=(8, 8)).astype(np.float16).astype(np.float64)
    weights = np.full(8, 0.125)
    problem = Problem(cost, weights, weights, reg=REG, tol=1e-5)
    double = listen(library.entropic, problem)
    try:
        half = listen(library.entropic, replace(problem, dtype="float16"))
    except library.refusals:
        return
    apart = float(np.abs(half.plan - double.plan).sum())
    require(apart <= 2.0**-11, f"{apart:.2g} of the mass lies elsewhere than in double precision")


def a_plain_number_for_the_mass_is_accepted_beside_tensors(library: Library) -> None:
    """Fault F11: a float where the code expected a tensor."""
    problem = replace(drawn(mass=0.6, reg=REG), tensors=True)
    require_feasible(listen(library.entropic, problem), problem)


def potentials_in_units_of_the_cost_rebuild_the_plan(library: Library) -> None:
    """Fault F21: a dual variable is a price, so the plan is exp((f + g − C)/reg), times a⊗b in the KL convention."""
    problem = drawn(reg=REG)
    heard = listen(library.entropic, problem)
    if heard.answer.potentials is None or problem.reg is None:
        raise NotOffered
    f, g = heard.answer.potentials
    a, b = problem.weights()
    density = np.exp((f[:, None] + g - problem.cost) / problem.reg)
    apart = min(float(np.abs(rebuilt - heard.plan).sum()) for rebuilt in (density, a[:, None] * b * density))
    require(apart <= ACCURATE, f"the plan they give differs from its own by {apart:.2g} of the mass")


def a_start_from_the_solution_is_there_at_once(library: Library) -> None:
    """Fault F20: an argument that is accepted and ignored."""
    problem = drawn(reg=0.02)
    heard = listen(lambda problem: library.restarted(problem, 1), problem)
    require_plan(heard, problem, plan_of(problem), within=1e-4)


CASES = (
    balanced_plans_at_a_hundredth_of_the_range_are_right_or_told_to_be_unfinished,
    balanced_plans_at_a_thousandth_of_the_range_are_right_or_told_to_be_unfinished,
    partial_plans_at_a_thousandth_of_the_range_are_finite_and_feasible_or_told_not_to_be,
    partial_plans_at_default_limits_are_feasible_or_told_not_to_be,
    an_easy_problem_ends_long_before_the_limit_of_sweeps,
    a_tiny_mass_called_converged_has_been_moved,
    a_small_mass_takes_no_more_sweeps_than_half,
    constant_costs_are_solved_with_default_settings,
    no_sweep_at_all_is_an_unfinished_answer,
    a_tolerance_below_the_rounding_of_the_type_is_told,
    half_precision_is_computed_in_single,
    a_plain_number_for_the_mass_is_accepted_beside_tensors,
    potentials_in_units_of_the_cost_rebuild_the_plan,
    a_start_from_the_solution_is_there_at_once,
)
