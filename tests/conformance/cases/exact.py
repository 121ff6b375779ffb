"""The linear programme: the cheapest plan, whatever the sign, the unit and the range of prices and weights."""

from dataclasses import replace

import numpy as np
import torch

from tests.conformance.cases.problems import cheapest, drawn, forbidding
from tests.conformance.judge import EXACT, listen, require, require_cheapest, require_feasible
from tests.conformance.library import Library, Problem
from tests.partialot.oracles import cheapest_matching, solve_by_highs


def exact_balanced_plans_cost_what_another_solver_says(library: Library) -> None:
    """HiGHS says it."""
    for seed in range(5):
        problem = drawn(seed=seed)
        require_cheapest(listen(library.exact, problem), problem, cheapest(problem))


def exact_partial_plans_cost_what_another_solver_says(library: Library) -> None:
    """HiGHS says it, on the inequality form without dummies."""
    for seed, mass in enumerate((0.1, 0.3, 0.6, 0.9)):
        problem = drawn(seed=seed, mass=mass)
        require_cheapest(listen(library.exact, problem), problem, cheapest(problem))


def negative_costs_move_the_mass_that_was_asked_for(library: Library) -> None:
    """Fault F1: a corner priced at twice the largest cost forbids nothing where no cost is positive."""
    plain = drawn(mass=0.6)
    halves = np.full(2, 0.5)
    for problem in (replace(plain, cost=plain.cost - 3.0), Problem(-np.ones((2, 2)), halves, halves, 0.3)):
        require_cheapest(listen(library.exact, problem), problem, cheapest(problem))


def gains_beside_losses_move_the_mass_that_was_asked_for(library: Library) -> None:
    """Fault F1 with prices of both signs."""
    weights = np.full(2, 0.5)
    problem = Problem(np.array([[-1.0, 0.1], [0.1, -1.0]]), weights, weights, 0.3)
    require_cheapest(listen(library.exact, problem), problem, -0.3)


def free_pairs_move_the_mass_that_was_asked_for(library: Library) -> None:
    """Fault F1 at costs of 0."""
    problem = replace(drawn(mass=0.6), cost=np.zeros((6, 7)))
    require_cheapest(listen(library.exact, problem), problem, 0.0)


def negative_balanced_problems_are_all_solved(library: Library) -> None:
    """A simplex that calls a few feasible problems in a thousand infeasible, and returns zeros."""
    random = np.random.default_rng(0)
    for _ in range(60):
        a, b = random.uniform(size=5), random.uniform(size=6)
        problem = Problem(random.uniform(-2.0, -1.0, (5, 6)), a / a.sum(), b / b.sum())
        require_feasible(listen(library.exact, problem), problem, within=EXACT)


def costs_of_1e_minus_12_are_told_apart(library: Library) -> None:
    """Pricing with an absolute tolerance gives plans some per cent too dear."""
    _unit_of_costs(library, 1e-12)


def costs_of_1e_minus_15_are_told_apart(library: Library) -> None:
    """Pricing with an absolute tolerance gives plans several times too dear."""
    _unit_of_costs(library, 1e-15)


def costs_of_1e12_are_summed_right(library: Library) -> None:
    """The other end of the range."""
    _unit_of_costs(library, 1e12)


def costs_over_sixteen_decades_are_summed_right(library: Library) -> None:
    """Judged by looking at all matchings, with no other linear programme in between."""
    ones = np.ones(4), np.ones(5)
    for seed in range(25):
        cost = 10.0 ** np.random.default_rng(seed).uniform(-8.0, 8.0, (4, 5))
        problem = Problem(cost, *ones, mass=2.0)
        require_cheapest(listen(library.exact, problem), problem, cheapest_matching(cost, 2), within=EXACT)


def weights_of_total_1e8_are_transported(library: Library) -> None:
    """A plan of zeros is what totals far from 1 can come to."""
    _unit_of_weights(library, 1e8)


def weights_of_total_1e_minus_8_are_transported(library: Library) -> None:
    """The other end of the range."""
    _unit_of_weights(library, 1e-8)


def a_mass_of_1e_minus_12_is_moved_to_the_last_digit(library: Library) -> None:
    """What stays behind is formed as a difference, in which a small mass loses its digits."""
    _little_mass(library, 1e-12)


def a_mass_of_1e_minus_15_is_moved_to_the_last_digit(library: Library) -> None:
    """The same, where a tenth of the mass can be lost."""
    _little_mass(library, 1e-15)


def single_precision_weights_give_all_their_mass(library: Library) -> None:
    """Fault F4: weights that sum to 0.9999999 in float32 hold a mass of 1 up to rounding."""
    random = np.random.default_rng(0)
    a, b = (w / w.sum() for w in (random.uniform(0.5, 1.5, n).astype(np.float32) for n in (60, 70)))
    if a.sum(dtype=np.float32) >= 1.0:
        a *= np.float32(0.9999999)
    problem = Problem(random.uniform(size=(60, 70)), a, b, mass=1.0, dtype="float32")
    require_feasible(listen(library.exact, problem), problem, within=1e-5)


def a_mass_one_rounding_above_the_weights_is_accepted(library: Library) -> None:
    """Fault F4 in float64: the sum of six sixths is a rounding away from 1."""
    plain = drawn()
    full = np.nextafter(min(float(w.sum()) for w in plain.weights()), np.inf)
    problem = replace(plain, mass=float(full))
    require_feasible(listen(library.exact, problem), problem, within=EXACT)


def counts_are_transported_when_no_mass_is_given(library: Library) -> None:
    """Fault F5: leaving the mass out must not demand weights of total 1."""
    problem = replace(drawn(4, 4), a=np.array([2.0, 1.0, 3.0, 2.0]), b=np.array([1.0, 4.0, 1.0, 2.0]))
    require_cheapest(listen(library.exact_without_mass, problem), problem, cheapest(problem))


def whole_numbers_as_weights_are_never_cut_off(library: Library) -> None:
    """Solved in the type of the weights, 1.5 becomes 1; a refusal is as good as an answer."""
    cost, b = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([1.5, 1.5])
    problem = Problem(cost, np.array([1, 2]), b)  # pyright: ignore[reportArgumentType]
    try:
        heard = listen(lambda problem: library.exact(replace(problem, dtype="int64")), problem)
    except library.refusals:
        return
    require_feasible(heard, Problem(cost.astype(int), np.array([1.0, 2.0]), b.astype(int)))


def forbidden_pairs_are_avoided_in_balanced_transport(library: Library) -> None:
    """Prices of inf on the diagonal, with room elsewhere."""
    problem = forbidding(drawn(6, 6), *((i, i) for i in range(6)))
    require_cheapest(listen(library.exact, problem), problem, cheapest(problem))


def a_forbidden_pair_is_avoided_in_partial_transport(library: Library) -> None:
    """Fault F6: one pair of inf beside plenty of capacity."""
    problem = forbidding(drawn(mass=0.6), (0, 0), (1, 3))
    require_cheapest(listen(library.exact, problem), problem, cheapest(problem))


def a_source_with_no_allowed_pair_stays_behind(library: Library) -> None:
    """Partial transport can leave it; nothing about the others changes."""
    problem = forbidding(drawn(mass=0.6), *((2, j) for j in range(7)))
    require_cheapest(listen(library.exact, problem), problem, cheapest(problem))


def a_problem_without_sources_has_an_empty_plan(library: Library) -> None:
    """Nothing to move, no error."""
    problem = Problem(np.zeros((0, 3)), np.zeros(0), np.zeros(3))
    plan = listen(library.exact, problem).plan
    require(plan.size == 0, f"a plan of shape {plan.shape}")


def tensors_are_solved_beside_another_default_device(library: Library) -> None:
    """Fault F3: what is allocated inside must live where the inputs live."""
    problem = replace(drawn(mass=0.6), tensors=True)
    truth = cheapest(problem)
    with torch.device("meta"):
        heard = listen(library.exact, problem)
    require_cheapest(heard, problem, truth)


def a_batch_without_regularisation_is_solved_exactly(library: Library) -> None:
    """Fault F12: the default call of a batch solver that returned the product of the weights."""
    problems = [drawn(seed=seed) for seed in range(3)]
    for index, answer in enumerate(library.exact_batch(problems)):
        heard = listen(lambda _, answer=answer: answer, problems[index])
        paid = float((problems[index].cost * heard.plan).sum())
        optimum = cheapest(problems[index])
        require(paid <= 1.01 * optimum, f"costs {paid:.4g} where {optimum:.4g} is enough, {paid / optimum - 1:+.0%}")


def _unit_of_costs(library: Library, unit: float) -> None:
    for seed in range(3):
        plain = drawn(30, 30, seed=seed)
        problem = replace(plain, cost=unit * plain.cost)
        require_cheapest(listen(library.exact, problem), problem, unit * cheapest(plain), within=EXACT)


def _unit_of_weights(library: Library, unit: float) -> None:
    for whole in (drawn(seed=seed, mass=mass) for seed in range(5) for mass in (None, 0.6)):
        a, b = whole.weights()
        mass = None if whole.mass is None else unit * whole.mass
        problem = replace(whole, a=unit * a, b=unit * b, mass=mass)
        require_cheapest(listen(library.exact, problem), problem, unit * cheapest(whole), within=EXACT)


def _little_mass(library: Library, mass: float) -> None:
    plain = drawn()
    a, b = plain.weights()
    problem = replace(plain, a=3 * a, b=3 * b, mass=mass)
    plan = listen(library.exact, problem).plan
    moved = float(plan.sum())
    require(abs(moved / mass - 1) <= EXACT, f"moved {moved / mass - 1:+.2%} of the mass too much")
    optimum = solve_by_highs(problem.cost, *problem.weights(), mass).value
    paid = float((problem.cost * plan).sum())
    require(abs(paid / optimum - 1) <= EXACT, f"costs {paid / optimum - 1:+.2%} above the optimum")


CASES = (
    exact_balanced_plans_cost_what_another_solver_says,
    exact_partial_plans_cost_what_another_solver_says,
    negative_costs_move_the_mass_that_was_asked_for,
    gains_beside_losses_move_the_mass_that_was_asked_for,
    free_pairs_move_the_mass_that_was_asked_for,
    negative_balanced_problems_are_all_solved,
    costs_of_1e_minus_12_are_told_apart,
    costs_of_1e_minus_15_are_told_apart,
    costs_of_1e12_are_summed_right,
    costs_over_sixteen_decades_are_summed_right,
    weights_of_total_1e8_are_transported,
    weights_of_total_1e_minus_8_are_transported,
    a_mass_of_1e_minus_12_is_moved_to_the_last_digit,
    a_mass_of_1e_minus_15_is_moved_to_the_last_digit,
    single_precision_weights_give_all_their_mass,
    a_mass_one_rounding_above_the_weights_is_accepted,
    counts_are_transported_when_no_mass_is_given,
    whole_numbers_as_weights_are_never_cut_off,
    forbidden_pairs_are_avoided_in_balanced_transport,
    a_forbidden_pair_is_avoided_in_partial_transport,
    a_source_with_no_allowed_pair_stays_behind,
    a_problem_without_sources_has_an_empty_plan,
    tensors_are_solved_beside_another_default_device,
    a_batch_without_regularisation_is_solved_exactly,
)
