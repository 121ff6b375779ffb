"""What every solution of partialot has, each property one function with its definition, and who must have them."""

from typing import TypeVar

import torch
from torch import Tensor
from torch.testing import assert_close

import partialot
from tests.partialot.oracles import HIGHS_TOLERANCE
from tests.partialot.problems import NamedProblem

LP_TOLERANCE = 1e-12
"""Feasibility of the linear programme, relative to the mass: a few roundings of float64."""
SINKHORN_TOLERANCE = 1e-10
"""Mass and marginals of Sinkhorn at tol 1e-12 in float64, relative to the mass."""

SINKHORN = partialot.Sinkhorn(max_iter=20_000, tol=1e-12)
EXACT = partialot.ExactLP()

SOLVERS = {"Sinkhorn": SINKHORN, "ExactLP": EXACT}
"""Every solver inherits every property test; each is judged at its own tolerance."""

TOLERANCES = {"Sinkhorn": SINKHORN_TOLERANCE, "ExactLP": LP_TOLERANCE}

T = TypeVar("T")


def reg_for(solver: str, reg: T) -> T | None:
    """Give what a solver takes for `reg`: nothing, where it solves the linear programme."""
    return reg if SOLVERS[solver].entropic else None


def solve(problem: NamedProblem, solver: str = "Sinkhorn", **changes: Tensor | float | None) -> partialot.Solution:
    """Solve a named problem, with some of its arguments changed."""
    arguments = {"a": problem.a, "b": problem.b, "mass": problem.mass} | changes
    cost, given_reg = arguments.pop("cost", problem.cost), arguments.pop("reg", problem.reg)
    assert isinstance(cost, Tensor)
    return partialot.solve(cost, **arguments, reg=reg_for(solver, given_reg), solver=SOLVERS[solver])  # pyright: ignore[reportArgumentType]


def assert_moves(solution: partialot.Solution, mass: Tensor | float, *, rtol: float) -> None:
    """The plan moves the requested mass: 1ᵀP1 = M, relative to M."""
    expected = torch.as_tensor(mass, dtype=solution.plan.dtype).expand(solution.value.shape)
    assert_close(solution.plan.sum((-2, -1)), expected, rtol=rtol, atol=0.0)
    assert_close(solution.mass, expected, rtol=rtol, atol=0.0)


def assert_within_weights(solution: partialot.Solution, problem: NamedProblem, *, rtol: float) -> None:
    """No node gives or takes more than it has: P ≥ 0, P1 ≤ a and Pᵀ1 ≤ b; equal where the transport is balanced."""
    plan, slack = solution.plan, rtol * problem.moved
    assert (plan >= 0).all()
    assert (plan.sum(-1) <= problem.a * (1 + 4e-16) + slack).all()
    assert (plan.sum(-2) <= problem.b * (1 + 4e-16) + slack).all()
    if problem.mass is None:
        assert_close(plan.sum(-1), problem.a, rtol=0.0, atol=slack)
        assert_close(plan.sum(-2), problem.b, rtol=0.0, atol=slack)


def assert_marginals_describe_plan(solution: partialot.Solution, problem: NamedProblem, *, rtol: float) -> None:
    """The marginals are the sums of the plan, the slacks what they leave: P1 + slack_a = a, Pᵀ1 + slack_b = b."""
    allowed = rtol * problem.moved
    assert_close(solution.marginal_a, solution.plan.sum(-1), rtol=0.0, atol=allowed)
    assert_close(solution.marginal_b, solution.plan.sum(-2), rtol=0.0, atol=allowed)
    for marginal, slack, weights in (
        (solution.marginal_a, solution.slack_a, problem.a),
        (solution.marginal_b, solution.slack_b, problem.b),
    ):
        assert (slack >= -10 * allowed).all()
        assert_close(marginal + slack, weights, rtol=1e-12, atol=10 * allowed)


def assert_leaves_alone(solution: partialot.Solution, problem: NamedProblem) -> None:
    """Forbidden pairs and nodes of weight 0 carry exactly nothing: P = 0, not 1e-40."""
    assert (solution.plan[..., problem.cost.isinf()] == 0).all()
    assert (solution.plan[..., problem.a == 0, :] == 0).all()
    assert (solution.plan[..., :, problem.b == 0] == 0).all()


def assert_values_describe_plan(solution: partialot.Solution, problem: NamedProblem, *, rtol: float) -> None:
    """The linear value is ⟨C, P⟩ over allowed pairs."""
    allowed = problem.cost.isfinite()
    linear = (problem.cost[allowed] * solution.plan[allowed]).sum()
    assert_close(solution.value_linear, linear, rtol=rtol, atol=rtol * problem.moved * problem.scale)


def assert_finite(solution: partialot.Solution) -> None:
    """Everything a user reads is a number: plan, values, potentials, price, error."""
    f, g = solution.potentials
    for tensor in (solution.plan, solution.value, solution.value_linear, f, g):
        assert tensor.isfinite().all()
    assert solution.marginal_error.isfinite().all()


def assert_solves(solution: partialot.Solution, problem: NamedProblem, *, rtol: float) -> None:
    """Everything that holds for every solution of every problem."""
    assert solution.converged.all()
    assert_finite(solution)
    assert_moves(solution, problem.moved, rtol=rtol)
    assert_within_weights(solution, problem, rtol=rtol)
    assert_marginals_describe_plan(solution, problem, rtol=rtol)
    assert_leaves_alone(solution, problem)
    assert_values_describe_plan(solution, problem, rtol=rtol)


def assert_certified(solution: partialot.Solution, problem: NamedProblem, optimum: float) -> None:
    """The certificate brackets the linear programme: primal ≥ optimum ≥ dual, gap = primal − dual, plan feasible."""
    certificate = solution.certificate()
    assert_rounded(certificate.plan, problem)
    noise = HIGHS_TOLERANCE * problem.moved * problem.scale
    assert (certificate.primal >= optimum - noise).all()
    assert (certificate.dual <= optimum + noise).all()
    assert (certificate.gap >= 0).all()
    assert_close(certificate.gap, (certificate.primal - certificate.dual).clamp(min=0), rtol=1e-12, atol=noise)


def assert_rounded(plan: Tensor, problem: NamedProblem) -> None:
    """A rounded plan is feasible to rounding: P ≥ 0, marginals within the weights, mass M, forbidden pairs empty.

    Where pairs are forbidden the repair is a sequence of sums, which may cost two digits more.
    """
    digits = 1e-14 if problem.cost.isfinite().all() else 1e-12
    noise = digits * problem.moved
    assert (plan >= 0).all()
    assert (plan.sum(-1) <= problem.a * (1 + 1e-14) + noise).all()
    assert (plan.sum(-2) <= problem.b * (1 + 1e-14) + noise).all()
    assert_close(plan.sum().item(), problem.moved, rtol=digits * max(plan.shape), atol=0.0)
    assert (plan[problem.cost.isinf()] == 0).all()
