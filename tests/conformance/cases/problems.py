"""The problems that several cases ask about, and what is true of them by other people's solvers."""

from dataclasses import replace

import numpy as np
from scipy.special import logsumexp

from tests.conformance.library import Array, Convention, Formulation, Problem
from tests.partialot.oracles import solve_by_highs, solve_entropic

REG = 0.1
"""A tenth of the range of the prices: what most users of regularised transport begin with."""


def drawn(n: int = 6, m: int = 7, *, seed: int = 0, mass: float | None = None, reg: float | None = None) -> Problem:
    """Prices uniform in [0, 1], weights between .5 and 1.5 of the mean, total 1."""
    random = np.random.default_rng(seed)
    a, b = random.uniform(0.5, 1.5, n), random.uniform(0.5, 1.5, m)
    return Problem(random.uniform(size=(n, m)), a / a.sum(), b / b.sum(), mass, reg)


def emptied(problem: Problem) -> Problem:
    """The same with nothing at two sources and one target, what was there given to the others."""
    a, b = (weights.copy() for weights in problem.weights())
    a[[1, 4]] = b[0] = 0.0
    return replace(problem, a=a / a.sum(), b=b / b.sum())


def forbidding(problem: Problem, *pairs: tuple[int, int]) -> Problem:
    """The same with some pairs forbidden."""
    cost = problem.cost.copy()
    for pair in pairs:
        cost[pair] = np.inf
    return replace(problem, cost=cost)


def cheapest(problem: Problem) -> float:
    """The value of the linear programme, by HiGHS."""
    return solve_by_highs(problem.cost, *problem.weights(), problem.mass).value


def plan_of(problem: Problem, formulation: Formulation = "dummy") -> Array:
    """The plan of the regularised problem, by a solver written for the tests."""
    assert problem.reg is not None
    if problem.mass is None or formulation == "dummy":
        return solve_entropic(problem.cost, *problem.weights(), problem.mass, problem.reg).plan
    return _capped(problem)


def value_of(problem: Problem, convention: Convention) -> float:
    """The objective of the regularised problem; between conventions lie the entropies of the weights alone."""
    assert problem.reg is not None
    a, b = problem.weights()
    value = solve_entropic(problem.cost, a, b, problem.mass, problem.reg).value
    if convention == "kl":
        return value
    entropies = sum(float((w[w > 0] * np.log(w[w > 0])).sum()) for w in (a, b))
    return value + problem.reg * (entropies - a.sum() * np.log(a.sum()))


def _capped(problem: Problem) -> Array:
    """Minimise ⟨C, P⟩ + reg Σ P (log P − 1) with rows ≤ a, columns ≤ b, mass M: three scalings, in logarithms."""
    assert problem.mass is not None
    assert problem.reg is not None
    a, b = problem.weights()
    with np.errstate(divide="ignore"):
        log_a, log_b = np.log(a), np.log(b)
    kernel = -problem.cost / problem.reg
    u, v, z = np.zeros_like(a), np.zeros_like(b), 0.0
    for _ in range(100_000):
        previous = z
        with np.errstate(invalid="ignore"):
            u = np.fmin(log_a - z - logsumexp(kernel + v, axis=1), 0.0)
            v = np.fmin(log_b - z - logsumexp(kernel + u[:, None], axis=0), 0.0)
        z = np.log(problem.mass) - logsumexp(kernel + u[:, None] + v)
        plan = np.exp(kernel + u[:, None] + v + z)
        excess = max((plan.sum(1) - a).max(), (plan.sum(0) - b).max())
        if abs(z - previous) < 1e-15 and excess < 1e-14 * problem.mass:
            return plan
    raise AssertionError("the reference itself does not converge")
