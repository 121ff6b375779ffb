"""Masses and weights at their ends: nothing, next to nothing, next to everything, and far too much beside it."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import partialot
from tests.partialot.oracles import solve_by_highs
from tests.partialot.problems import random_problem
from tests.partialot.properties import SINKHORN, SOLVERS, assert_finite, reg_for, solve

pytestmark = pytest.mark.timeout(60)
BOTH = pytest.mark.parametrize("solver", SOLVERS)
PLAN_MODES = pytest.mark.parametrize("gradient", [partialot.Implicit(), partialot.Unrolled()], ids=repr)


@BOTH
@pytest.mark.parametrize("mass", [None, 0.6])
def test_empty_nodes_have_the_potential_that_would_let_them_in(solver: str, mass: float | None) -> None:
    """The c-transform of the other side's potentials; the least, or with `reg` the soft minimum, of C − g."""
    problem = random_problem(mass=mass)
    a = torch.cat([problem.a, torch.zeros(1, dtype=torch.float64)])
    cost = torch.cat([problem.cost, torch.linspace(0.0, 0.9, 7, dtype=torch.float64).unsqueeze(0)])
    solution = solve(problem, solver, cost=cost, a=a)
    f, g = solution.potentials
    assert_finite(solution)
    if solver == "ExactLP":
        price = solution.mass_price if mass is not None else torch.zeros(())
        best = (cost[-1] - (g if mass is None else g - price) - price).min()
        assert_close(f[-1], best if mass is None else best.clamp(max=0.0), rtol=0.0, atol=1e-9)
        return
    total = a.sum() + problem.b.sum() - problem.moved
    terms = torch.log(problem.b / total) + (g - cost[-1]) / problem.reg
    if mass is not None:
        # ∂value/∂a = f + g_dummy, and f is given in the gauge where g_dummy is 0.
        terms = torch.cat([terms, torch.log((a.sum() - mass) / total).unsqueeze(0)])
    assert_close(f[-1], -problem.reg * terms.logsumexp(0), rtol=0.0, atol=1e-8)


def test_at_no_mass_the_cheapest_allowed_pair_sets_the_exact_price() -> None:
    problem = random_problem(mass=0.0)
    cost, a = problem.cost.clone(), problem.a.clone()
    cost[0, 0], cost[1, 1], a[1] = torch.inf, -5.0, 0.0
    mass = torch.zeros((), dtype=torch.float64, requires_grad=True)
    solution = solve(problem, "ExactLP", cost=cost, a=a, mass=mass)
    cheapest = cost[a > 0].min()
    assert_close(solution.mass_price.detach(), cheapest, rtol=1e-12, atol=0.0)
    assert_close(torch.autograd.grad(solution.value, mass)[0], cheapest, rtol=1e-12, atol=0.0)


@pytest.mark.filterwarnings("ignore::partialot.ConvergenceWarning")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_no_mass_is_exactly_nothing_at_any_regularisation(dtype: torch.dtype) -> None:
    """Not 1e-308; also beside problems of the same batch that do move something."""
    cost, reg = torch.rand(6, 5, 6, dtype=dtype), torch.tensor([0.01, 0.1, 1.0], dtype=dtype)
    mass = torch.tensor([0.0, 0.5], dtype=dtype)
    few = partialot.Sinkhorn(max_iter=50)
    solution = partialot.solve(cost[:, None, None], mass=mass, reg=reg[:, None], solver=few)
    assert (solution.plan[..., 0, :, :] == 0).all()
    assert (solution.marginal_error[..., 0] == 0).all()
    assert (solution.plan[..., 1, :, :].sum((-2, -1)) > 0.49).all()


@PLAN_MODES
@pytest.mark.parametrize("mass", [0.0, None])
def test_an_empty_plan_does_not_react_to_the_costs(
    mass: float | None, gradient: partialot.Implicit | partialot.Unrolled
) -> None:
    """Mass 0, and balanced transport of nothing."""
    problem = random_problem(mass=mass)
    cost = problem.cost.clone().requires_grad_()
    part = 1.0 if mass is not None else 0.0
    solution = partialot.solve(
        cost, part * problem.a, part * problem.b, mass=mass, reg=0.1, solver=SINKHORN, gradient=gradient
    )
    for output in (solution.value_linear, solution.plan.square().sum(), solution.value):
        (by_cost,) = torch.autograd.grad(output, cost, retain_graph=True)
        assert_close(by_cost, torch.zeros_like(cost), rtol=0.0, atol=1e-25)


@pytest.mark.parametrize("mass", [1e-8, 1e-100, 1e-300])
def test_a_tiny_mass_moves_exactly_along_the_cheapest_pair(mass: float) -> None:
    problem = random_problem(mass=mass)
    solution = solve(problem, "ExactLP")
    assert_close(solution.value.item() / mass, problem.cost.min().item(), rtol=1e-12, atol=0.0)
    assert_close(solution.plan.sum().item() / mass, 1.0, rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("mass", [0.5, 1e-6])
@pytest.mark.parametrize("factor", [1e6, 1e8])
def test_the_exact_value_beside_a_large_surplus_is_that_of_another_solver(factor: float, mass: float) -> None:
    problem = random_problem(mass=mass)
    a = factor * problem.a
    optimum = solve_by_highs(problem.cost.numpy(), a.numpy(), problem.b.numpy(), mass)
    solution = solve(problem, "ExactLP", a=a)
    assert_close(solution.value.item(), optimum.value, rtol=1e-9, atol=0.0)
    assert_close(solution.plan.sum().item(), mass, rtol=1e-12, atol=0.0)


def test_the_distance_from_the_balanced_plan_is_proportional_to_what_stays_behind() -> None:
    """Down to 1e-8 of the mass; at 1e-2 the next order still shows."""
    full = solve(random_problem(mass=None)).plan
    ratios = [(solve(random_problem(mass=1.0 - left)).plan - full).abs().sum() / left for left in (1e-5, 1e-6, 1e-8)]
    assert_close(ratios[1], ratios[0], rtol=1e-3, atol=0.0)
    assert_close(ratios[2], ratios[0], rtol=1e-2, atol=0.0)


@pytest.mark.parametrize("left", [1e-2, 1e-5, 1e-8])
def test_the_exact_value_near_full_mass_falls_by_the_price_of_what_stays_behind(left: float) -> None:
    full, nearly = (solve(random_problem(mass=mass), "ExactLP") for mass in (1.0, 1.0 - left))
    assert 0 < full.value - nearly.value <= 1.01 * left * full.mass_price + 1e-13


@pytest.mark.parametrize("mass", [0.9, 0.3, 1e-7])
@pytest.mark.parametrize("ratio", [1e-2, 1.0, 1e2])
def test_nothing_leaks_between_the_dummies_however_large_reg_is(ratio: float, mass: float) -> None:
    """Mass in the corner would be moved in excess of M, and missing from what stays behind."""
    problem = random_problem(mass=mass, reg=ratio)
    solution = solve(problem)
    assert solution.converged
    assert_close(solution.mass.item() / mass, 1.0, rtol=1e-10, atol=0.0)
    assert_close(solution.slack_a.sum(), problem.a.sum() - mass, rtol=1e-10, atol=0.0)
    assert_close(solution.slack_b.sum(), problem.b.sum() - mass, rtol=1e-10, atol=0.0)


@pytest.mark.filterwarnings("ignore::partialot.ConvergenceWarning")
@pytest.mark.parametrize("reg", [1.0, 1e4])
def test_costs_over_sixteen_decades_are_bracketed_by_the_certificate(reg: float) -> None:
    generator = torch.Generator().manual_seed(3)
    cost = 10.0 ** (16.0 * torch.rand(4, 5, generator=generator, dtype=torch.float64) - 8.0)
    a, b = torch.full((4,), 0.25, dtype=torch.float64), torch.full((5,), 0.2, dtype=torch.float64)
    solution = partialot.solve(cost, a, b, mass=0.5, reg=reg, solver=partialot.Sinkhorn(max_iter=2000))
    exact = partialot.solve(cost, a, b, mass=0.5)
    assert_finite(solution)
    assert solution.marginal_error <= 1e-3 or not solution.converged
    certificate = solution.certificate()
    assert certificate.primal >= exact.value * (1 - 1e-9)
    assert certificate.dual <= exact.value * (1 + 1e-9)


@pytest.mark.parametrize("part", [1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_surplus_eats_no_digits_of_the_value_in_single_precision(part: float, transposed: bool) -> None:
    """The value is of the size of the mass, and must not be the difference of sums of the size of the weights."""
    values = []
    for dtype in (torch.float32, torch.float64):
        cost = torch.tensor([[0.3, 0.7], [0.2, 0.9]], dtype=dtype)
        small, large = part * torch.tensor([0.4, 0.6], dtype=dtype), torch.tensor([0.3, 0.7], dtype=dtype)
        a, b = (large, small) if transposed else (small, large)
        tol = 1e-6 if dtype == torch.float32 else 1e-12
        solver = partialot.Sinkhorn(tol=tol)
        values.append(partialot.solve(cost, a, b, mass=0.9 * part, reg=1.0, solver=solver).value.double())
    assert_close(values[0], values[1], rtol=2e-5, atol=0.0)


@BOTH
@pytest.mark.parametrize("mass", [None, 0.6])
def test_two_targets_merged_into_one_cost_the_same(solver: str, mass: float | None) -> None:
    """The other way round from splitting: columns of equal prices are one column."""
    problem = random_problem(mass=mass)
    cost = problem.cost.clone()
    cost[:, 1] = cost[:, 0]
    b = torch.cat([problem.b[:2].sum(0, keepdim=True), problem.b[2:]])
    apart, merged = solve(problem, solver, cost=cost), solve(problem, solver, cost=cost[:, 1:], b=b)
    assert_close(merged.value, apart.value, rtol=1e-9, atol=0.0)


def test_the_exact_value_is_that_of_whole_numbers_when_counts_are_large() -> None:
    """Whole weights up to a million and whole prices: the optimum is a whole number, and so is what is found."""
    random = np.random.default_rng(5)
    cost, a = random.integers(0, 100, (6, 7)), random.integers(1, 10**6, 6)
    b = np.append(random.integers(1, a.sum() // 10, 6), 0)
    b[-1] = a.sum() - b.sum()
    arrays = (torch.from_numpy(part.astype(np.float64)) for part in (cost, a, b))
    value = partialot.solve(*arrays).value.item()
    assert abs(value - round(value)) <= 1e-12 * value
    optimum = solve_by_highs(cost.astype(float), a.astype(float), b.astype(float)).value
    assert_close(value, optimum, rtol=1e-9, atol=0.0)


def _flipped(tensor: Tensor) -> Tensor:
    return torch.from_numpy(tensor.numpy()[..., ::-1].copy()).flip(-1)


@BOTH
def test_copies_made_with_a_negative_step_are_solved_as_the_originals(solver: str) -> None:
    problem = random_problem()
    again = solve(problem, solver, cost=_flipped(problem.cost), a=_flipped(problem.a), b=_flipped(problem.b))
    assert torch.equal(again.plan, solve(problem, solver).plan)


@BOTH
def test_sixteen_threads_give_the_bits_of_one(solver: str) -> None:
    cost, reg = torch.rand(2, 60, 70), reg_for(solver, 0.05)
    before, plans = torch.get_num_threads(), []
    try:
        for count in (1, 16):
            torch.set_num_threads(count)
            plans.append(partialot.solve(cost, mass=0.4, reg=reg).plan)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*plans)
