"""Over-relaxation and annealing: the same answers as plain sweeps, in fewer of them, and never a diverging one."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor
from torch.testing import assert_close

import partialot
from partialot.augmentation import add_dummy_nodes
from partialot.kernels.reference import safe_relaxation
from partialot.problem import Problem
from partialot.solvers.acceleration import Relaxation
from partialot.solvers.annealing import SWEEPING, Annealing
from tests.partialot.problems import NamedProblem, partial_problems

PLAIN = partialot.Sinkhorn(max_iter=20_000, tol=1e-9, over_relaxation=False, annealing=False, newton=False)
RELAXED = partialot.Sinkhorn(max_iter=20_000, tol=1e-9, annealing=False, newton=False)
ANNEALED = partialot.Sinkhorn(max_iter=20_000, tol=1e-9, newton=False)


def clusters(n: int = 60, m: int = 70) -> Tensor:
    """Cosine costs between clusters of unequal mass: what nearly balanced transport stalls on."""
    centres = torch.randn(5, 16, dtype=torch.float64)
    sides = (centres[torch.randint(5, (k,))] + 0.3 * torch.randn(k, 16, dtype=torch.float64) for k in (n, m))
    x, y = (torch.nn.functional.normalize(side, dim=-1) for side in sides)
    return 1 - x @ y.mT


@pytest.mark.parametrize("mass", [None, 0.95, 0.3])
@pytest.mark.parametrize("reg", [0.3, 0.1])
def test_over_relaxed_sweeps_find_the_same_plan_in_no_more_sweeps(mass: float | None, reg: float) -> None:
    cost = clusters()
    plain, relaxed = (partialot.solve(cost, mass=mass, reg=reg, solver=solver) for solver in (PLAIN, RELAXED))
    assert_close(relaxed.plan, plain.plan, rtol=0.0, atol=1e-8)
    assert relaxed.n_iter <= plain.n_iter + 1


def test_over_relaxation_saves_most_sweeps_of_a_slow_problem() -> None:
    cost = clusters()
    plain, relaxed = (partialot.solve(cost, reg=0.08, solver=solver) for solver in (PLAIN, RELAXED))
    assert 3 * relaxed.n_iter < plain.n_iter


@settings(max_examples=30)
@given(partial_problems(full=False))
def test_over_relaxation_never_costs_more_than_a_few_sweeps_and_never_diverges(problem: NamedProblem) -> None:
    arguments = {"mass": problem.mass, "reg": problem.reg}
    plain, relaxed = (
        partialot.solve(problem.cost, problem.a, problem.b, **arguments, solver=solver) for solver in (PLAIN, RELAXED)
    )
    assert relaxed.converged.all() or not plain.converged.all()
    assert relaxed.n_iter <= 1.1 * plain.n_iter + 10


@pytest.mark.filterwarnings("ignore::partialot.ConvergenceWarning")
@pytest.mark.parametrize("mass", [None, 0.5, 1e-3])
def test_every_over_relaxed_sweep_raises_the_dual(mass: float | None) -> None:
    """From far away too, where going 1.95 of the way everywhere would throw the potentials off."""
    cost, before = clusters(20, 30), -torch.inf
    for sweeps in range(1, 30):
        solver = partialot.Sinkhorn(max_iter=sweeps, tol=1e-300, annealing=False, newton=False)
        value = partialot.solve(cost, mass=mass, reg=0.01, solver=solver).value.item()
        assert value >= before - 1e-12
        before = value


@pytest.mark.parametrize("omega", [1.2, 1.7, 1.95])
def test_a_factor_is_taken_back_only_where_the_dual_gains_too_little(omega: float) -> None:
    log_total = torch.linspace(-30, 30, 20001, dtype=torch.float64)
    chosen = safe_relaxation(log_total, torch.tensor(omega, dtype=torch.float64))
    gain = -chosen * log_total - log_total.exp() * (-chosen * log_total).expm1()
    assert (gain >= -1e-12).all()
    assert (chosen[(log_total.abs() < 0.05) & (log_total.abs() > 1e-2)] == omega).all()
    assert (chosen[log_total < -28] == 1).all()


def test_the_factor_of_a_linear_iteration_is_youngs() -> None:
    contraction = 0.9
    relaxation, error = Relaxation(torch.ones(1, dtype=torch.float64)), 1.0
    for _ in range(5):
        relaxation.observe(torch.tensor([error], dtype=torch.float64))
        error *= contraction
    assert_close(relaxation.omega.item(), 2 / (1 + (1 - contraction) ** 0.5))


def test_a_stalling_problem_is_annealed_in_far_fewer_sweeps_to_the_same_plan() -> None:
    cost = clusters()
    relaxed, annealed = (
        partialot.solve(cost, reg=0.01, solver=replace(solver, tol=1e-3)) for solver in (RELAXED, ANNEALED)
    )
    assert annealed.converged
    assert 1.5 * annealed.n_iter < relaxed.n_iter
    assert_close(annealed.plan, relaxed.plan, rtol=0.0, atol=2e-3)


def test_a_problem_that_does_not_stall_is_not_annealed() -> None:
    cost = torch.rand(40, 50, dtype=torch.float64)
    relaxed, annealed = (partialot.solve(cost, mass=0.5, reg=0.002, solver=solver) for solver in (RELAXED, ANNEALED))
    assert annealed.n_iter == relaxed.n_iter


def test_annealing_begins_only_where_it_can_end_within_the_sweeps() -> None:
    cost = clusters()
    for sweeps in (20, 40, 80, 160):
        solver = partialot.Sinkhorn(max_iter=sweeps, tol=1e-12, newton=False)
        with pytest.warns(partialot.ConvergenceWarning):
            solution = partialot.solve(cost, reg=0.004, solver=solver)
        f, g = solution.potentials
        plan = torch.exp((f[:, None] + g - cost) / 0.004) / (60 * 70)
        assert solution.n_iter == sweeps
        assert_close(solution.plan, plan, rtol=1e-6, atol=1e-12)


def test_annealing_carries_potentials_in_units_of_the_cost_and_extrapolates_them() -> None:
    problem = Problem.from_inputs(clusters(), reg=0.001)
    bordered = add_dummy_nodes(problem)
    annealing = Annealing(bordered, 10_000, SWEEPING, wanted=True)
    true_f, true_g = torch.randn(2, 1, 61, dtype=torch.float64)

    def at(unit: Tensor) -> tuple[Tensor, Tensor]:
        """Potentials linear in the regularisation, in its units."""
        return ((true_f + true_g[:, :61] / unit) * unit), (true_f[:, :1] - true_g[:, :1] / unit).expand(1, 71) * unit

    first = annealing.target / 8
    annealing.carry(*at(annealing.target), first)
    annealing.carry(*at(first), 2 * first)
    f, g = annealing.carry(*at(2 * first), 4 * first)
    assert_close(f, at(4 * first)[0])
    assert_close(g, at(4 * first)[1])


def test_in_float32_marginals_are_met_where_costs_span_thousands_of_reg() -> None:
    cost = clusters(200, 260).float()
    reg = float(cost.max() - cost.min()) / 4096
    solution = partialot.solve(cost, mass=0.7, reg=reg, solver=partialot.Sinkhorn(tol=1e-5))
    plan = solution.plan.double()
    assert solution.converged
    assert (plan.sum(1) - 1 / 200).clamp(min=0).sum() <= 0.7e-5
    assert (plan.sum(0) - 1 / 260).clamp(min=0).sum() <= 0.7e-5
    assert abs(plan.sum().item() - 0.7) <= 0.7e-5
