"""Derivatives, each against central differences of a reference that knows no derivative.

Every way that a library offers must be right or refuse: a wrong number without a word is the worst of the faults.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np

from tests.conformance.cases.problems import cheapest, drawn, emptied, forbidding, plan_of, value_of
from tests.conformance.judge import Fault, require, require_gradient
from tests.conformance.library import Array, Convention, Formulation, Input, Library, NotOffered, Output, Problem

_REG = 0.05
"""Small enough that a plan reacts to its potentials: at ten times the range of the costs every mode looks right."""

_STEP = 1e-5


def the_value_has_the_plan_for_its_gradient_in_the_costs(library: Library) -> None:
    """The theorem of the envelope; faults F22 and F23 are its neighbours."""
    problem = drawn(reg=_REG)
    _each_mode(library, problem, "value", "cost", None, plan_of(problem))


def the_value_is_differentiated_right_in_the_weights(library: Library) -> None:
    """Fault F14, and references a⊗b that carry a gradient of their own; along changes that keep the total."""
    _each_mode(library, drawn(reg=_REG), "value", "a", None, _of_weights(library.convention), centred=True)


def the_value_is_differentiated_right_in_the_regularisation(library: Library) -> None:
    """∂value/∂reg is the divergence."""
    _each_mode(library, drawn(reg=_REG), "value", "reg", None, _of_regularisation(library.convention))


def the_price_of_the_plan_is_differentiated_right_or_not_at_all(library: Library) -> None:
    """⟨C, P(C)⟩ is no envelope: holding P fixed gives the gradient of another function."""
    _each_mode(library, drawn(reg=_REG), "value_linear", "cost", None, _of_price())


def the_plan_is_differentiated_right_or_not_at_all(library: Library) -> None:
    """Fault F23: frozen potentials and last sweeps give wrong numbers, up to thirty times too large."""
    _each_mode(library, drawn(reg=_REG), "plan", "cost", _UPSTREAM, _of_plan(None, library.formulation))


def the_partial_plan_is_differentiated_right_or_not_at_all(library: Library) -> None:
    """Through dummy nodes or caps."""
    truth = _of_plan(0.6, library.formulation)
    _each_mode(library, drawn(mass=0.6, reg=_REG), "plan", "cost", _UPSTREAM, truth)


def the_partial_plan_is_differentiated_right_in_the_mass(library: Library) -> None:
    """The derivative that chooses how much to move."""
    truth = _of_plan_in_mass(library.formulation)
    _each_mode(library, drawn(mass=0.6, reg=_REG), "plan", "mass", _UPSTREAM, truth)


def gradients_are_finite_and_right_beside_nodes_of_weight_zero(library: Library) -> None:
    """Fault F22: one padded node makes every entry NaN."""
    problem = emptied(drawn(reg=_REG))
    _each_mode(library, problem, "value", "cost", None, plan_of(problem))


def gradients_are_finite_and_right_beside_forbidden_pairs(library: Library) -> None:
    """Inf · 0 in the backward pass."""
    problem = forbidding(drawn(reg=_REG), (0, 0), (1, 3))
    _each_mode(library, problem, "value", "cost", None, plan_of(problem))


def the_exact_value_has_the_plan_for_its_gradient_in_the_costs(library: Library) -> None:
    """Where the optimal plan is unique, of course."""
    problem = drawn(mass=0.6)
    _exact(library, problem, "cost", _differences(lambda cost: cheapest(replace(problem, cost=cost)), problem.cost))


def the_exact_value_has_a_gradient_in_the_weights(library: Library) -> None:
    """Fault F2: dual variables that are computed and thrown away."""
    problem = drawn(mass=0.6)
    a, _ = problem.weights()
    _exact(library, problem, "a", _differences(lambda a: cheapest(replace(problem, a=a)), a))


def the_exact_value_has_a_gradient_in_the_mass(library: Library) -> None:
    """Fault F2: the price of mass."""
    problem = drawn(mass=0.6)
    truth = _differences(lambda mass: cheapest(replace(problem, mass=float(mass))), np.array(0.6))
    _exact(library, problem, "mass", truth)


def second_derivatives_of_the_value_are_right_or_refused(library: Library) -> None:
    """First-order modes that differentiate twice without complaint."""
    problem, truth = drawn(reg=_REG), _of_plan(None, "dummy")
    _over_modes(library, lambda mode: require_gradient(library.curvature(problem, _UPSTREAM, mode), truth))


def the_gradient_of_the_value_keeps_no_sweeps(library: Library) -> None:
    """Fault F13: an envelope that does not detach its loop keeps every sweep; one way must do without."""
    problem = replace(drawn(32, 32, reg=0.01), max_iter=100)
    plan_bytes = problem.cost.size * 8
    kept = {}
    for mode in library.modes:
        try:
            kept[mode] = library.saved_bytes(problem, mode) / plan_bytes
        except library.refusals:
            continue
    if not kept:
        raise NotOffered
    least = min(kept, key=lambda mode: kept[mode])
    require(kept[least] <= 12, f"{least} keeps {kept[least]:.0f} times the costs, the least of all modes")
    if "envelope" in kept:
        require(kept["envelope"] <= 12, f"envelope keeps {kept['envelope']:.0f} times the costs")


_UPSTREAM = np.random.default_rng(7).standard_normal((6, 7))
"""Weights that make a number of a plan; a plain sum would be the mass, whose gradient is 0."""


# Computed once for all libraries that are judged in one process.
@cache
def _of_plan(mass: float | None, formulation: Formulation) -> Array:
    problem = drawn(mass=mass, reg=_REG)

    def weighted(cost: Array) -> float:
        return float((_UPSTREAM * plan_of(replace(problem, cost=cost), formulation)).sum())

    return _differences(weighted, problem.cost)


@cache
def _of_plan_in_mass(formulation: Formulation) -> Array:
    problem = drawn(mass=0.6, reg=_REG)

    def weighted(mass: Array) -> float:
        return float((_UPSTREAM * plan_of(replace(problem, mass=float(mass)), formulation)).sum())

    return _differences(weighted, np.array(0.6))


@cache
def _of_weights(convention: Convention) -> Array:
    problem = drawn(reg=_REG)
    a, _ = problem.weights()
    return _differences(lambda a: value_of(replace(problem, a=a), convention), a, centred=True)


@cache
def _of_regularisation(convention: Convention) -> Array:
    problem = drawn(reg=_REG)
    return _differences(lambda reg: value_of(replace(problem, reg=float(reg)), convention), np.array(_REG))


@cache
def _of_price() -> Array:
    problem = drawn(reg=_REG)

    def price(cost: Array) -> float:
        return float((cost * plan_of(replace(problem, cost=cost))).sum())

    return _differences(price, problem.cost)


def _differences(function: Callable[[Array], float], at: Array, *, centred: bool = False) -> Array:
    """Central differences, entry by entry; `centred` moves the mean back, so that totals are kept."""
    slopes = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        step = np.zeros_like(at)
        step[index] = _STEP
        if centred:
            step -= _STEP / at.size
        slopes[index] = (function(at + step) - function(at - step)) / (2 * _STEP)
    return slopes


def _each_mode(
    library: Library,
    problem: Problem,
    of: Output,
    to: Input,
    upstream: Array | None,
    truth: Array,
    *,
    centred: bool = False,
) -> None:
    def check(mode: str) -> None:
        found = library.gradient(problem, of, to, upstream, mode)
        require_gradient(found - found.mean() if centred else found, truth)

    _over_modes(library, check)


def _over_modes(library: Library, check: Callable[[str], None]) -> None:
    """Every mode is right or refuses; one at least is right."""
    offered, wrong = 0, []
    for mode in library.modes:
        try:
            check(mode)
        except Fault as fault:
            wrong.append(f"{mode}: {fault}")
        except LookupError as missing:
            wrong.append(f"{mode}: {missing}")
        except (NotOffered, *library.refusals):
            continue
        offered += 1
    if wrong:
        raise Fault("; ".join(wrong))
    if not offered:
        raise NotOffered


def _exact(library: Library, problem: Problem, to: Input, truth: Array) -> None:
    found = library.exact_gradient(problem, to)
    if found is None:
        raise Fault("no gradient arrives")
    require_gradient(found, truth)


CASES = (
    the_value_has_the_plan_for_its_gradient_in_the_costs,
    the_value_is_differentiated_right_in_the_weights,
    the_value_is_differentiated_right_in_the_regularisation,
    the_price_of_the_plan_is_differentiated_right_or_not_at_all,
    the_plan_is_differentiated_right_or_not_at_all,
    the_partial_plan_is_differentiated_right_or_not_at_all,
    the_partial_plan_is_differentiated_right_in_the_mass,
    gradients_are_finite_and_right_beside_nodes_of_weight_zero,
    gradients_are_finite_and_right_beside_forbidden_pairs,
    the_exact_value_has_the_plan_for_its_gradient_in_the_costs,
    the_exact_value_has_a_gradient_in_the_weights,
    the_exact_value_has_a_gradient_in_the_mass,
    second_derivatives_of_the_value_are_right_or_refused,
    the_gradient_of_the_value_keeps_no_sweeps,
)
