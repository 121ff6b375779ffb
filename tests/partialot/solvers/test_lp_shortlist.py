"""Large problems are solved over a shortlist of pairs: the same optimum, however little the cheapest pairs say."""

from typing import Any

import numpy as np
import ot
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import partialot
from partialot.solvers import shortlist
from tests.partialot.oracles import solve_by_highs
from tests.partialot.problems import NamedProblem
from tests.partialot.properties import EXACT, assert_solves

SIZE = (110, 100)
"""Large enough for a shortlist, small enough for HiGHS."""


def clouds(family: str) -> Tensor:
    """Squared distances between points that the family places."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(count, 2, generator=generator, dtype=torch.float64) for count in SIZE)
    if family == "shifted":
        y = y + 5.0
    if family == "lines":
        x, y = x[:, :1].sort(dim=0).values, 0.3 * y[:, :1].sort(dim=0).values
    cost = ((x[:, None] - y) ** 2).sum(-1)
    if family == "hubs":
        cost = cost + 5 * torch.rand(SIZE[0], 1, generator=generator) + 5 * torch.rand(SIZE[1], generator=generator)
    if family == "forbidden":
        cost[torch.rand(SIZE, generator=generator) < 0.5] = torch.inf
    return cost


def problem(family: str, mass: float | None) -> NamedProblem:
    """Clouds with uneven weights of total 1."""
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.rand(count, generator=generator, dtype=torch.float64) + 0.1 for count in SIZE)
    return NamedProblem(family, clouds(family), a / a.sum(), b / b.sum(), mass, 0.1)


@pytest.fixture(autouse=True)
def _shortlist_from_these_sizes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortlist, "_CANDIDATES", 5)


def count_calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Count how often the simplex runs over all pairs and over some."""
    calls = {"all": 0, "some": 0}
    original = ot.emd

    def counted(*arguments: Any, **options: Any) -> Any:
        calls["all" if isinstance(arguments[2], np.ndarray) else "some"] += 1
        return original(*arguments, **options)

    monkeypatch.setattr(ot, "emd", counted)
    return calls


@pytest.mark.parametrize("mass", [None, 0.5, 0.05, 0.999])
@pytest.mark.parametrize("family", ["near", "shifted", "lines", "hubs", "forbidden"])
def test_the_optimum_is_that_of_highs(family: str, mass: float | None) -> None:
    given = problem(family, mass)
    solution = partialot.solve(given.cost, given.a, given.b, mass=mass, solver=EXACT)
    optimum = solve_by_highs(given.cost.numpy(), given.a.numpy(), given.b.numpy(), mass)
    assert_close(solution.value.item(), optimum.value, rtol=1e-8, atol=1e-12)
    assert_solves(solution, given, rtol=1e-12)
    assert_close(solution.certificate().gap.item(), 0.0, rtol=0.0, atol=1e-11 * given.moved * given.scale)


def test_near_clouds_need_no_look_at_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count_calls(monkeypatch)
    partialot.solve(clouds("near"), mass=0.5, solver=EXACT)
    assert calls["all"] == 0
    assert calls["some"] >= 1


def test_a_sample_of_the_nodes_finds_the_pairs_that_prices_hide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some nodes are dear for all: the first shortlist is hopeless, but the sample's potentials say by how much."""
    given = problem("hubs", 0.5)
    calls = count_calls(monkeypatch)
    partialot.solve(given.cost, given.a, given.b, mass=0.5, solver=EXACT)
    assert calls["all"] == 1, "the sample, too small for a shortlist"
    assert calls["some"] >= 2


def test_all_pairs_are_used_where_no_shortlist_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortlist, "_HOPELESS", 0.0)
    given = problem("shifted", None)
    calls = count_calls(monkeypatch)
    solution = partialot.solve(given.cost, given.a, given.b, solver=EXACT)
    assert calls["all"] == 2, "the sample, then the problem itself"
    assert_solves(solution, given, rtol=1e-12)


def test_a_warm_start_names_the_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    given = problem("shifted", 0.5)
    solution = partialot.solve(given.cost, given.a, given.b, mass=0.5, solver=EXACT)
    calls = count_calls(monkeypatch)
    again = partialot.solve(given.cost, given.a, given.b, mass=0.5, solver=EXACT, init=solution)
    assert calls == {"all": 0, "some": 1}
    assert_close(again.value, solution.value, rtol=1e-12, atol=0.0)


def test_weights_that_sparse_plans_drop_are_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """POT leaves what is below 1e-15 of the total out of sparse plans, here all that the light sources send."""
    given = problem("near", 1.0)
    light = slice(0, 80)
    a, b = torch.full_like(given.a, 2.0), torch.full_like(given.b, 2.0)
    a[light] = 5e-14
    cost = given.cost.clone()
    cost[light] -= 5.0
    calls = count_calls(monkeypatch)
    plan = partialot.solve(cost, a, b, mass=1.0, solver=EXACT).plan
    assert calls["all"] >= 1
    assert_close(plan.sum(-1)[light], a[light], rtol=1e-3, atol=0.0)


def test_a_large_problem_without_a_way_is_refused_as_a_small_one_is() -> None:
    given = problem("near", None)
    cost = given.cost.clone()
    cost[:70, 10:] = torch.inf
    with pytest.raises(partialot.InfeasibleProblemError, match=r"Found 0\.\d+ of the mass of problem 0 .* Allow more"):
        partialot.solve(cost, given.a, given.b, solver=EXACT)


def test_a_dear_way_around_forbidden_pairs_is_taken() -> None:
    """One forbidden pair would save 40 times the cost range: more than it is first taken to be worth."""
    size = 40
    cost = torch.full((size, size), torch.inf, dtype=torch.float64)
    cost.fill_diagonal_(1.0)
    cost.diagonal(-1).fill_(0.0)
    weights = torch.ones(size, dtype=torch.float64)
    solution = partialot.solve(cost, weights, weights, solver=EXACT)
    assert_close(solution.value.item(), float(size), rtol=1e-12, atol=0.0)
    assert_close(solution.plan, torch.eye(size, dtype=torch.float64), rtol=0.0, atol=1e-12)
