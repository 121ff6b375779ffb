"""A price of mass in place of the mass: the same plans as with the mass it moves, its limits and derivatives."""

import numpy as np
import ot
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

import partialot
from partialot import Price
from tests.partialot.problems import random_problem
from tests.partialot.properties import SINKHORN

PROBLEM = random_problem(n=5, m=6)
SMALL = random_problem(n=3, m=4, reg=0.2)
A, B, COST = PROBLEM.a, 1.2 * PROBLEM.b, PROBLEM.cost
INPUTS = ("cost", "a", "b", "price", "reg")
PRICES = [0.1, 0.3, 0.7]


def at(price: float | Tensor, **changes: Tensor | float | partialot.Solution | None) -> partialot.Solution:
    arguments = {"cost": COST, "a": A, "b": B, "reg": PROBLEM.reg} | changes
    solver = None if arguments["reg"] is None else SINKHORN
    return partialot.solve(arguments.pop("cost"), **arguments, mass=Price(price), solver=solver)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("price", PRICES)
@pytest.mark.parametrize("reg", [None, 0.1, 0.02])
def test_the_mass_that_a_price_moves_has_the_same_plan(price: float, reg: float | None) -> None:
    solution = at(price, reg=reg)
    assert solution.converged
    assert_close(solution.mass_price.item(), price)
    solver = None if reg is None else SINKHORN
    same = partialot.solve(COST, A, B, mass=solution.mass, reg=reg, solver=solver)
    assert_close(solution.plan, same.plan, rtol=0.0, atol=1e-9)
    if reg is None:
        assert_close(solution.value, same.value - price * solution.mass, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("price", PRICES)
def test_the_written_out_problem_has_the_same_plan_and_value(price: float) -> None:
    bordered = partialot.augment(COST, A, B, mass=Price(price))
    whole = partialot.solve(bordered.cost, bordered.a, bordered.b, reg=0.2, solver=SINKHORN)
    solution = at(price, reg=0.2)
    assert_close(solution.plan, whole.plan[:-1, :-1], rtol=0.0, atol=1e-9)
    assert_close(solution.value, whole.value, rtol=0.0, atol=1e-9)
    exact: float = ot.emd2(bordered.a.numpy(), bordered.b.numpy(), bordered.cost.numpy() - bordered.cost.numpy().min())  # pyright: ignore[reportAssignmentType]
    least = float(np.min(bordered.cost.numpy())) * float(bordered.a.sum())
    assert_close(at(price, reg=None).value.item(), exact + least, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("forbid", [False, True])
def test_a_price_below_every_cost_moves_nothing_and_a_high_one_all_there_is(forbid: bool) -> None:
    cost = COST.clone()
    cost[0, 1] = torch.inf if forbid else cost[0, 1]
    nothing, everything = at(-1.0, cost=cost, reg=None), at(50.0, cost=cost, reg=None)
    assert (nothing.plan == 0).all()
    assert nothing.value == 0
    assert_close(everything.mass, A.sum())
    assert at(-1.0, cost=cost, reg=0.05).mass < 1e-5
    assert_close(at(50.0, cost=cost).mass, A.sum(), rtol=1e-9, atol=0.0)
    assert (everything.plan[cost.isinf()] == 0).all()


@pytest.mark.parametrize("reg", [None, 0.1])
def test_the_value_is_concave_in_the_price_and_falls_by_the_mass(reg: float | None) -> None:
    prices = torch.linspace(0.0, 1.0, 9, dtype=torch.float64, requires_grad=True)
    solution = at(prices, reg=reg)
    (slope,) = torch.autograd.grad(solution.value.sum(), prices)
    assert_close(slope, -solution.mass.detach(), rtol=1e-9, atol=1e-12)
    assert (solution.value.diff().diff() <= 1e-12).all()
    assert (solution.mass.diff() >= -1e-12).all()


@pytest.mark.parametrize("reg", [None, 0.1])
def test_certificates_bracket_the_programme(reg: float | None) -> None:
    cost = COST.clone()
    cost[0, 1] = torch.inf
    optimum, certificate = at(0.4, cost=cost, reg=None).value, at(0.4, cost=cost, reg=reg).certificate()
    assert certificate.primal >= optimum - 1e-12
    assert certificate.dual <= optimum + 1e-12
    assert certificate.gap <= (1e-12 if reg is None else 0.2)
    assert (certificate.plan.sum(-1) <= A + 1e-12).all()
    assert (certificate.plan.sum(-2) <= B + 1e-12).all()


@pytest.mark.parametrize("reg", [None, 0.1])
def test_empty_nodes_and_warm_starts_change_nothing(reg: float | None) -> None:
    padded = torch.nn.functional.pad(COST, (0, 1, 0, 1))
    a, b = torch.nn.functional.pad(A, (0, 1)), torch.nn.functional.pad(B, (0, 1))
    solution, plain = at(0.4, cost=padded, a=a, b=b, reg=reg), at(0.4, reg=reg)
    assert_close(solution.plan, torch.nn.functional.pad(plain.plan, (0, 1, 0, 1)), rtol=0.0, atol=1e-10)
    assert all(side.isfinite().all() for side in solution.potentials)
    again = at(0.4, reg=reg, init=plain)
    assert_close(again.plan, plain.plan, rtol=0.0, atol=1e-10)
    assert again.n_iter <= 1


@pytest.mark.parametrize("wanted", INPUTS)
def test_derivatives_agree_with_finite_differences(wanted: str) -> None:
    numbers = SMALL.cost, SMALL.a, 1.3 * SMALL.b, torch.tensor(0.4).double(), torch.tensor(SMALL.reg).double()
    given: dict[str, Tensor] = dict(zip(INPUTS, numbers, strict=True))

    def function(varied: Tensor) -> tuple[Tensor, Tensor]:
        solution = at(**given | {wanted: varied})  # pyright: ignore[reportArgumentType]
        return solution.plan, solution.value

    point = given[wanted].clone().requires_grad_()
    assert gradcheck(function, (point,), eps=1e-6, atol=1e-6, rtol=1e-4, fast_mode=True)
    assert gradgradcheck(lambda varied: function(varied)[1], (point,), eps=1e-6, atol=1e-6, rtol=1e-4, fast_mode=True)


def test_lazy_prices_have_the_same_answer() -> None:
    x, y = torch.rand(5, 2, dtype=torch.float64), torch.rand(4, 2, dtype=torch.float64)
    found = []
    for storage in ("blocks", "matrix"):
        features = x.clone().requires_grad_()
        cloud = partialot.PointCloud(features, y, "sqeuclidean", storage=storage)
        solution = partialot.solve(cloud, mass=Price(0.2), reg=0.1, solver=SINKHORN)
        (solution.value + solution.apply(y).sum()).backward()
        found.append((solution.plan.detach(), features.grad))
    for one, other in zip(*found, strict=True):
        assert_close(one, other, rtol=0.0, atol=1e-9)


def test_prices_that_are_no_number_and_what_does_not_go_with_them_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`Price` must hold a finite number\. Found nan.*\. Pass what a unit"):
        at(float("nan"))
    with pytest.raises(ValueError, match=r"must have a `mass` and a `reg`\. .* Pass both"):
        partialot.solve(COST, mass=Price(0.4), reg=0.1, formulation="capped")
    with pytest.raises(ValueError, match=r"Found a `Price`\. Pass `gradient=Implicit\(\)`"):
        partialot.solve(COST, mass=Price(0.4), reg=0.1, gradient=partialot.Unrolled())
