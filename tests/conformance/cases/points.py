"""Transport between clouds of points: offsets, units, coincidences, and what is no cloud."""

from dataclasses import replace

import numpy as np

from tests.conformance.judge import ACCURATE, Fault, Heard, require, require_plan
from tests.conformance.library import Array, Library, NotOffered, Points, Problem
from tests.partialot.oracles import solve_entropic


def plans_between_points_are_those_of_the_reference(library: Library) -> None:
    """The temperature a tenth of the mean price."""
    _require_right(library, _clouds())


def plans_between_points_at_small_regularisation_keep_their_weights(library: Library) -> None:
    """An annealing that is too quick for its target leaves half the mass in the wrong place."""
    points = replace(_clouds(), reg=2e-4)
    plan = _plan(library, points)
    off = float(max(np.abs(plan.sum(1) - points.a).sum(), np.abs(plan.sum(0) - points.b).sum()))
    require(off <= 0.02, f"weights violated by {off:.2g} of the mass")


def plans_between_points_follow_the_unit_of_the_weights(library: Library) -> None:
    """The plan scales; the value is left out, because a divergence from unnormalised a⊗b does not."""
    points = _clouds()
    plan = _plan(library, points)
    for unit in (1e6, 1e-6):
        scaled = _plan(library, replace(points, a=unit * points.a, b=unit * points.b)) / unit
        apart = float(np.abs(scaled - plan).sum())
        require(apart <= ACCURATE, f"{apart:.2g} of the mass lies elsewhere at total {unit:.0e}")


def a_common_offset_of_the_points_changes_nothing_in_single_precision(library: Library) -> None:
    """At 1e3 float32 still holds the points to 6e-5; squares that are subtracted do not."""
    points = replace(_clouds(), dtype="float32")
    moved = replace(points, x=np.float32(points.x + 1e3), y=np.float32(points.y + 1e3))  # pyright: ignore[reportArgumentType]
    truth = _reference(moved)
    value = _value(library, moved)
    require(abs(value / truth - 1) <= 0.01, f"{value:.4g} instead of {truth:.4g}")


def clouds_of_one_point_repeated_cost_nothing(library: Library) -> None:
    """No spread to choose a scale from."""
    points = replace(_clouds(), x=np.ones((6, 2)), y=np.ones((7, 2)))
    value = _value(library, points)
    require(abs(value) <= 1e-6, f"{value:.4g}")


def negative_weights_of_points_are_refused(library: Library) -> None:
    """Also where the totals agree."""
    a = _clouds().a.copy()
    a[:2] += (-0.3, 0.3)
    _refused(library, replace(_clouds(), a=a))


def unequal_totals_of_points_are_refused(library: Library) -> None:
    """Balanced transport of 1 onto 2."""
    _refused(library, replace(_clouds(), b=2 * _clouds().b))


def points_that_are_nan_are_refused(library: Library) -> None:
    """With a sentence, not by an accident further down."""
    x = _clouds().x.copy()
    x[0, 0] = np.nan
    _refused(library, replace(_clouds(), x=x))


def euclidean_prices_have_finite_gradients_where_points_coincide(library: Library) -> None:
    """Fault F18: the root of a rounding below 0, and a slope of 1/0 at 0."""
    x = np.random.default_rng(0).standard_normal((200, 64))
    prices, slopes = library.euclidean(x, x)
    bad = int((~np.isfinite(prices)).sum())
    require(bad == 0, f"{bad} of {prices.size} prices are NaN")
    bad = int((~np.isfinite(slopes)).sum())
    require(bad == 0, f"{bad} of {slopes.size} slopes are NaN or inf")


def _clouds() -> Points:
    random = np.random.default_rng(0)
    a, b = random.uniform(0.5, 1.5, 6), random.uniform(0.5, 1.5, 7)
    return Points(random.uniform(size=(6, 2)), random.uniform(size=(7, 2)), a / a.sum(), b / b.sum(), reg=0.03)


def _squared(points: Points) -> Array:
    return np.square(points.x[:, None].astype(np.float64) - points.y[None]).sum(-1)


def _reference(points: Points) -> float:
    return solve_entropic(_squared(points), points.a, points.b, None, points.reg).value


def _require_right(library: Library, points: Points) -> None:
    answer = library.from_points(points)
    optimum = solve_entropic(_squared(points), points.a, points.b, None, points.reg)
    problem = Problem(_squared(points), points.a, points.b, reg=points.reg)
    if answer.plan is not None:
        require_plan(Heard(answer, warned=False), problem, optimum.plan)
    if answer.value is not None:
        require(abs(answer.value / optimum.value - 1) <= ACCURATE, f"{answer.value:.4g} instead of {optimum.value:.4g}")


def _plan(library: Library, points: Points) -> Array:
    plan = library.from_points(points).plan
    if plan is None:
        raise NotOffered
    return plan


def _value(library: Library, points: Points) -> float:
    value = library.from_points(points).value
    if value is None:
        raise NotOffered
    return value


def _refused(library: Library, points: Points) -> None:
    try:
        answer = library.from_points(points)
    except library.refusals:
        return
    if answer.converged is not False:
        raise Fault(f"a value of {answer.value:.4g}, no word")


CASES = (
    plans_between_points_are_those_of_the_reference,
    plans_between_points_at_small_regularisation_keep_their_weights,
    plans_between_points_follow_the_unit_of_the_weights,
    a_common_offset_of_the_points_changes_nothing_in_single_precision,
    clouds_of_one_point_repeated_cost_nothing,
    negative_weights_of_points_are_refused,
    unequal_totals_of_points_are_refused,
    points_that_are_nan_are_refused,
    euclidean_prices_have_finite_gradients_where_points_coincide,
)
