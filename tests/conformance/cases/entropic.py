"""The regularised problem: the plan of its own formulation, or a word that it is not."""

from dataclasses import replace

import numpy as np

from tests.conformance.cases.problems import REG, drawn, emptied, forbidding, plan_of, value_of
from tests.conformance.judge import (
    ACCURATE,
    listen,
    require,
    require_feasible,
    require_plan,
)
from tests.conformance.library import Library, NotOffered


def balanced_plans_are_those_of_the_reference(library: Library) -> None:
    """Newton's method on the dual, written for the tests."""
    problem = drawn(reg=REG)
    require_plan(listen(library.entropic, problem), problem, plan_of(problem))


def partial_plans_are_those_of_the_reference(library: Library) -> None:
    """Each formulation is held against its own optimum."""
    problem = drawn(mass=0.6, reg=REG)
    require_plan(listen(library.entropic, problem), problem, plan_of(problem, library.formulation))


def large_offsets_of_the_costs_change_no_plan(library: Library) -> None:
    """The mass is fixed, so a constant in the costs moves nothing."""
    for problem in (drawn(reg=REG), drawn(mass=0.6, reg=REG)):
        try:
            heard = listen(library.entropic, replace(problem, cost=problem.cost + 1e8))
        except NotOffered:
            if problem.mass is None:
                raise
            return
        require_plan(heard, problem, plan_of(problem, library.formulation))


def nodes_of_weight_zero_stay_empty_in_balanced_transport(library: Library) -> None:
    """As if they were not there."""
    problem = emptied(drawn(reg=REG))
    heard = listen(library.entropic, problem)
    require_plan(heard, problem, plan_of(problem), within=10 * ACCURATE)
    a, b = problem.weights()
    carried = heard.plan[a == 0].sum() + heard.plan[:, b == 0].sum()
    require(carried == 0, f"they carry {carried:.2g}")


def nodes_of_weight_zero_stay_empty_in_partial_transport(library: Library) -> None:
    """Fault F10: 0/0 in a multiplicative solver, log 0 in a logarithmic one."""
    problem = emptied(drawn(mass=0.6, reg=REG))
    require_feasible(listen(library.entropic, problem), problem)


def the_objective_is_a_number_beside_nodes_of_weight_zero(library: Library) -> None:
    """0 · log 0 is 0."""
    problem = emptied(drawn(reg=REG))
    value = listen(library.entropic, problem).answer.value
    if value is None:
        raise NotOffered
    truth = value_of(problem, library.convention)
    require(abs(value - truth) <= ACCURATE * abs(truth), f"{value:.6g} instead of {truth:.6g}")


def the_objective_is_that_of_the_reference(library: Library) -> None:
    """In the library's own convention of the entropy."""
    problem = drawn(reg=REG)
    value = listen(library.entropic, problem).answer.value
    if value is None:
        raise NotOffered
    truth = value_of(problem, library.convention)
    require(abs(value - truth) <= ACCURATE * abs(truth), f"{value:.6g} instead of {truth:.6g}")


def no_mass_is_an_empty_plan(library: Library) -> None:
    """Fault F10 at mass 0."""
    plan = listen(library.entropic, drawn(mass=0.0, reg=REG)).plan
    require(bool((plan == 0).all()), "NaN" if np.isnan(plan).any() else f"a plan of mass {plan.sum():.3g}")


def forbidden_pairs_carry_nothing(library: Library) -> None:
    """Exactly nothing, and the rest is the optimum."""
    for problem in (drawn(reg=REG), drawn(mass=0.6, reg=REG)):
        blocked = forbidding(problem, (0, 0), (1, 3))
        try:
            heard = listen(library.entropic, blocked)
        except NotOffered:
            if problem.mass is None:
                raise
            return
        require_feasible(heard, blocked)
        require_plan(heard, blocked, plan_of(blocked, library.formulation))


def a_source_with_no_allowed_pair_stays_behind_under_regularisation(library: Library) -> None:
    """A whole row of inf, in partial transport."""
    problem = forbidding(drawn(mass=0.6, reg=REG), *((2, j) for j in range(7)))
    require_feasible(listen(library.entropic, problem), problem)


def the_price_of_a_plan_is_a_number_beside_forbidden_pairs(library: Library) -> None:
    """Inf · 0 is 0 here."""
    problem = forbidding(drawn(reg=REG), (0, 0), (1, 3))
    answer = listen(library.entropic, problem).answer
    for price in (answer.value, answer.value_linear):
        require(price is None or bool(np.isfinite(price)), f"{price}")
    if answer.value is None and answer.value_linear is None:
        raise NotOffered


def the_mass_is_exact_where_reg_is_as_large_as_the_costs(library: Library) -> None:
    """A corner of finite price leaks: 69 % of the mass at twice the largest cost."""
    problem = drawn(mass=0.6, reg=1.0)
    plan = listen(library.entropic, problem).plan
    require(abs(plan.sum() / 0.6 - 1) <= 1e-6, f"moved {plan.sum() / 0.6:.4g} times the mass")


def the_unit_of_the_weights_scales_the_value(library: Library) -> None:
    """Homogeneous of degree one: what a loss in other units must be."""
    plain = drawn(reg=REG)
    a, b = plain.weights()
    for unit in (1e6, 1e-6):
        problem = replace(plain, a=unit * a, b=unit * b)
        require_plan(listen(library.entropic, problem), problem, unit * plan_of(plain))


CASES = (
    balanced_plans_are_those_of_the_reference,
    partial_plans_are_those_of_the_reference,
    large_offsets_of_the_costs_change_no_plan,
    nodes_of_weight_zero_stay_empty_in_balanced_transport,
    nodes_of_weight_zero_stay_empty_in_partial_transport,
    the_objective_is_a_number_beside_nodes_of_weight_zero,
    the_objective_is_that_of_the_reference,
    no_mass_is_an_empty_plan,
    forbidden_pairs_carry_nothing,
    a_source_with_no_allowed_pair_stays_behind_under_regularisation,
    the_price_of_a_plan_is_a_number_beside_forbidden_pairs,
    the_mass_is_exact_where_reg_is_as_large_as_the_costs,
    the_unit_of_the_weights_scales_the_value,
)
