"""Several problems in one call: each is solved as if it were alone; and what a framework does to a call."""

from dataclasses import replace

import numpy as np

from tests.conformance.cases.problems import REG, drawn, plan_of
from tests.conformance.judge import ACCURATE, listen, require, require_feasible_or_told, require_refused
from tests.conformance.library import Answer, Library, NotOffered, Problem

_LOOP = 1e-12
"""Rounding: a batch may add in another order, and nothing else."""


def a_batch_is_the_loop_over_its_problems(library: Library) -> None:
    """An easy problem must not be changed by sweeps that a hard neighbour needs."""
    _against_the_loop(library, [replace(_scaled(scale), tol=1e-5) for scale in (0.1, 1.0, 10.0)])


def a_batch_of_partial_problems_is_the_loop_over_them(library: Library) -> None:
    """Each with a mass of its own."""
    problems = [drawn(seed=index, mass=mass, reg=REG) for index, mass in enumerate((0.1, 0.5, 0.9))]
    _against_the_loop(library, problems)


def a_batch_takes_a_regularisation_for_each_problem(library: Library) -> None:
    """As many as there are problems."""
    _against_the_loop(library, [drawn(seed=index, reg=reg) for index, reg in enumerate((0.05, 0.1, 1.0))])


def an_easy_problem_beside_a_hard_one_stops_on_its_own(library: Library) -> None:
    """Fault F19: one hard problem made 64 run a hundred times too long."""
    easy, hard = _scaled(0.1), _scaled(20.0)
    alone, beside = library.entropic_batch([easy, easy]), library.entropic_batch([easy, hard])
    sweeps = alone[0].n_iter, beside[0].n_iter
    if sweeps[0] is None or sweeps[1] is None:
        raise NotOffered
    require(sweeps[1] <= sweeps[0], f"{sweeps[1]} sweeps beside a hard problem, {sweeps[0]} alone")


def an_unfinished_batch_says_so(library: Library) -> None:
    """Fault F16's neighbour: small reg, default limits."""
    problems = [replace(drawn(5, 6, seed=seed, reg=1e-3), tol=None, max_iter=None) for seed in range(3)]
    for problem, heard in zip(problems, _heard(library, problems), strict=True):
        require_feasible_or_told(heard, problem)


def unequal_totals_in_a_batch_are_refused(library: Library) -> None:
    """Fault F16: totals of 1 and 2, and a plan of mass 2."""
    plain = [drawn(seed=seed, reg=REG) for seed in range(3)]
    problems = [replace(problem, b=2 * problem.weights()[1]) for problem in plain]
    require_refused(library, lambda _: library.entropic_batch(problems)[0], problems[0])


def a_nan_in_one_problem_of_a_batch_is_refused_or_marked(library: Library) -> None:
    """The others are right, and the one that cannot be is said to be none."""
    problems = [drawn(seed=seed, reg=REG) for seed in range(3)]
    problems[1].cost[0, 0] = np.nan
    require_refused(library, lambda _: library.entropic_batch(problems)[1], problems[1])


def the_marginals_of_a_batch_are_those_of_its_plans(library: Library) -> None:
    """Fault F15: sums along the dimensions of a single matrix."""
    for answer in library.entropic_batch([drawn(seed=seed, reg=REG) for seed in range(3)]):
        if answer.marginals is None or answer.plan is None:
            raise NotOffered
        for marginal, truth, side in zip(answer.marginals, (answer.plan.sum(1), answer.plan.sum(0)), "ab", strict=True):
            right = marginal.shape == truth.shape and np.allclose(marginal, truth, atol=1e-6)
            require(right, f"marginal of {side}: {marginal.shape} values for {truth.shape} nodes, or the wrong ones")


def the_vectorising_transform_gives_the_loop(library: Library) -> None:
    """`vmap`, with a stop that depends on the data."""
    problems = [drawn(seed=seed, reg=REG) for seed in range(3)]
    for problem, answer in zip(problems, library.mapped(problems), strict=True):
        assert answer.plan is not None
        apart = float(np.abs(answer.plan - plan_of(problem)).sum())
        require(apart <= ACCURATE, f"{apart:.2g} of the mass lies elsewhere")


def the_compiler_changes_no_plan(library: Library) -> None:
    """`torch.compile` or `jax.jit`."""
    problem = drawn(reg=REG)
    answer = library.compiled(problem)
    assert answer.plan is not None
    apart = float(np.abs(answer.plan - plan_of(problem)).sum())
    require(apart <= ACCURATE, f"{apart:.2g} of the mass lies elsewhere")


def _scaled(scale: float) -> Problem:
    problem = drawn(reg=REG)
    return replace(problem, cost=scale * problem.cost)


def _heard(library: Library, problems: list[Problem]) -> list:
    answers: list[Answer] = []

    def solve(_: Problem) -> Answer:
        answers.extend(library.entropic_batch(problems))
        return answers[0]

    warned = listen(solve, problems[0])
    return [replace(warned, answer=answer) for answer in answers]


def _against_the_loop(library: Library, problems: list[Problem]) -> None:
    together, alone = library.entropic_batch(problems), [library.entropic_batch([problem])[0] for problem in problems]
    for index, (one, other, problem) in enumerate(zip(together, alone, problems, strict=True)):
        assert one.plan is not None
        assert other.plan is not None
        apart = float(np.abs(one.plan - other.plan).sum() / problem.moved)
        require(apart <= _LOOP, f"problem {index} differs from itself alone by {apart:.1g} of the mass")


CASES = (
    a_batch_is_the_loop_over_its_problems,
    a_batch_of_partial_problems_is_the_loop_over_them,
    a_batch_takes_a_regularisation_for_each_problem,
    an_easy_problem_beside_a_hard_one_stops_on_its_own,
    an_unfinished_batch_says_so,
    unequal_totals_in_a_batch_are_refused,
    a_nan_in_one_problem_of_a_batch_is_refused_or_marked,
    the_marginals_of_a_batch_are_those_of_its_plans,
    the_vectorising_transform_gives_the_loop,
    the_compiler_changes_no_plan,
)
