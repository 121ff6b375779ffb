"""Nodes of weight 0 are padding: a padded batch is the loop over its problems, whatever the padding holds."""

from dataclasses import dataclass
from math import inf, nan

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import partialot
from partialot.nn import SinkhornDivergence, TransportLoss, TransportMatching
from tests.partialot.gradient_cases import ALL_MODES, MODES

SIZES = ((3, 5), (6, 4), (1, 1), (5, 6))
"""Real nodes of each problem; the batch is 6 × 6."""
WIDEST = 6
SOLVER = partialot.Sinkhorn(max_iter=5_000, tol=1e-7)
"""Below 1e-8 the gain of a sweep is lost in rounding, which then has a say in how far sweeps are over-relaxed."""
EXACTNESS = 1e-9
"""The same sweeps are done; sums over more columns are rounded otherwise, and so is the measured contraction."""
FILLS = pytest.mark.parametrize("fill", [0.0, 1e3, -40.0, inf], ids=str)
"""Prices of the padding: the least, far above and far below the others (exp(1e3 / reg) is no number), forbidden."""
KINDS = pytest.mark.parametrize("mass", [None, 0.4], ids=["balanced", "partial"])


@dataclass(frozen=True)
class Ragged:
    """Problems of several sizes, and where their nodes lie in a batch."""

    costs: list[Tensor]
    a: list[Tensor]
    b: list[Tensor]
    rows: list[Tensor]
    columns: list[Tensor]

    def padded(self, fill: float) -> tuple[Tensor, Tensor, Tensor]:
        """Cost, a and b of the batch: `fill` and weight 0 where no node is."""
        cost = torch.full((len(SIZES), WIDEST, WIDEST), fill, dtype=torch.float64)
        a, b = torch.zeros(2, len(SIZES), WIDEST, dtype=torch.float64)
        for index, (rows, columns) in enumerate(zip(self.rows, self.columns, strict=True)):
            cost[index, rows.unsqueeze(-1), columns] = self.costs[index]
            a[index, rows], b[index, columns] = self.a[index], self.b[index]
        return cost, a, b

    def real(self, matrix: Tensor, index: int) -> Tensor:
        """The part of one problem's matrix that belongs to its nodes."""
        return matrix[index][self.rows[index].unsqueeze(-1), self.columns[index]]


def ragged() -> Ragged:
    """Random problems of total 1, their nodes anywhere among the padding."""
    weights = [[(w := torch.rand(k, dtype=torch.float64) + 0.3) / w.sum() for k in size] for size in SIZES]
    places = [[torch.randperm(WIDEST)[:k] for k in size] for size in SIZES]
    costs = [torch.rand(size, dtype=torch.float64) for size in SIZES]
    return Ragged(costs, *map(list, zip(*weights, strict=True)), *map(list, zip(*places, strict=True)))


@KINDS
@FILLS
def test_a_padded_batch_is_the_loop_over_its_problems(fill: float, mass: float | None) -> None:
    problems = ragged()
    cost, a, b = problems.padded(fill)
    together = partialot.solve(cost, a, b, mass=mass, reg=0.1, solver=SOLVER)
    for index, (part, own_a, own_b) in enumerate(zip(problems.costs, problems.a, problems.b, strict=True)):
        alone = partialot.solve(part, own_a, own_b, mass=mass, reg=0.1, solver=SOLVER)
        rows, columns = problems.rows[index], problems.columns[index]
        pairs = (
            (problems.real(together.plan, index), alone.plan),
            (together.value[index], alone.value),
            (together.potentials[0][index, rows], alone.potentials[0]),
            (together.potentials[1][index, columns], alone.potentials[1]),
            (together.mass_price[index], alone.mass_price),
            (together.certificate().dual[index], alone.certificate().dual),
        )
        for found, expected in pairs:
            assert_close(found, expected, rtol=0.0, atol=EXACTNESS)
        assert together.n_iter[index] == alone.n_iter


@KINDS
@FILLS
def test_what_is_padding_neither_sends_nor_receives(fill: float, mass: float | None) -> None:
    cost, a, b = ragged().padded(fill)
    for reg in (0.1, None):
        solution = partialot.solve(cost, a, b, mass=mass, reg=reg)
        assert (solution.plan[a == 0] == 0).all()
        assert (solution.plan.mT[b == 0] == 0).all()
        for tensor in (solution.plan, solution.value, *solution.potentials, solution.mass_price):
            assert tensor.isfinite().all()


@KINDS
@FILLS
def test_exact_problems_do_not_see_the_padding(fill: float, mass: float | None) -> None:
    problems = ragged()
    together = partialot.solve(*problems.padded(fill), mass=mass)
    for index, (part, own_a, own_b) in enumerate(zip(problems.costs, problems.a, problems.b, strict=True)):
        alone = partialot.solve(part, own_a, own_b, mass=mass)
        assert_close(problems.real(together.plan, index), alone.plan, rtol=0.0, atol=1e-14)
        assert_close(together.value[index], alone.value, rtol=1e-14, atol=0.0)


@pytest.mark.parametrize("fill", [1e6, -1e6, inf], ids=str)
def test_prices_of_the_padding_cost_no_digits(fill: float) -> None:
    """In float32 and at its own tolerance: neither the tolerance nor the origin of prices may follow the padding."""
    problems = ragged()
    cost, a, b = (tensor.float() for tensor in problems.padded(fill))
    together = partialot.solve(cost, a, b, mass=0.4, reg=0.05)
    for index, (part, own_a, own_b) in enumerate(zip(problems.costs, problems.a, problems.b, strict=True)):
        alone = partialot.solve(part.float(), own_a.float(), own_b.float(), mass=0.4, reg=0.05)
        assert together.n_iter[index] == alone.n_iter
        assert_close(problems.real(together.plan, index), alone.plan, rtol=0.0, atol=1e-6)


def through(solution: partialot.Solution, output: str) -> Tensor:
    """A number that depends on the plan or the value, each problem in its own way."""
    if output == "value":
        return (solution.value * torch.arange(1.0, 1.0 + solution.value.numel()).reshape(solution.value.shape)).sum()
    return solution.plan.square().sum()


@KINDS
@pytest.mark.parametrize("fill", [1e3, -40.0], ids=str)
@pytest.mark.parametrize(
    ("mode", "output"),
    [(mode, out) for mode in ALL_MODES for out in ("value", "plan") if out == "value" or mode in MODES],
)
def test_nothing_flows_back_into_the_padding(mode: str, output: str, fill: float, mass: float | None) -> None:
    """Zero to the last bit on the padding, what the problem alone gives elsewhere, and finite for the weights.

    What is unrolled are the sweeps that were done, however few.
    """
    problems = ragged()
    cost, a, b = (tensor.requires_grad_() for tensor in problems.padded(fill))
    solver = partialot.Sinkhorn(tol=1e-2) if mode == "Unrolled" else SOLVER
    together = partialot.solve(cost, a, b, mass=mass, reg=0.1, solver=solver, gradient=ALL_MODES[mode])
    of_cost, of_a, of_b = torch.autograd.grad(through(together, output), (cost, a, b))
    padding = (a == 0).unsqueeze(-1) | (b == 0).unsqueeze(-2)
    assert (of_cost[padding] == 0).all()
    assert of_a.isfinite().all()
    assert of_b.isfinite().all()
    for index, part in enumerate(problems.costs):
        leaf = part.clone().requires_grad_()
        alone = partialot.solve(
            leaf, problems.a[index], problems.b[index], mass=mass, reg=0.1, solver=solver, gradient=ALL_MODES[mode]
        )
        times = 1.0 + index if output == "value" else 1.0
        (expected,) = torch.autograd.grad(times * through(alone, output), leaf)
        assert_close(problems.real(of_cost, index), expected, rtol=1e-7, atol=1e-8)


LAYERS = {
    "TransportMatching": TransportMatching(cost="sqeuclidean", reg=0.3, solver=SOLVER),
    "TransportLoss": TransportLoss(reg=0.3, solver=SOLVER, reduction="none"),
    "TransportLoss, exact": TransportLoss(reg=None, cost="euclidean", reduction="none"),
    "SinkhornDivergence": SinkhornDivergence(reg=0.3, solver=SOLVER, reduction="none"),
    "SinkhornDivergence, cosine": SinkhornDivergence(reg=0.3, cost="cosine", solver=SOLVER, reduction="none"),
}


def value_of(layer: str, *arguments: Tensor, mass: float | None) -> Tensor:
    """The value of each problem under a layer."""
    found = LAYERS[layer](*arguments, mass=mass)
    return found.value if isinstance(found, partialot.Solution) else found


@KINDS
@pytest.mark.parametrize("fill", [5.0, nan], ids=str)
@pytest.mark.parametrize("layer", LAYERS)
def test_layers_read_no_padding(layer: str, fill: float, mass: float | None) -> None:
    """Features of weight 0 may be no numbers at all: same values, same derivatives, none for the padding."""
    x, y, a, b = (torch.rand(*shape, dtype=torch.float64) for shape in ((2, 4, 3), (2, 5, 3), (2, 4), (2, 5)))
    a, b = ((side + 0.3) / (side + 0.3).sum(-1, keepdim=True) for side in (a, b))
    x.requires_grad_()
    expected = value_of(layer, x, y, a, b, mass=mass)
    (slope,) = torch.autograd.grad(expected.sum(), x)
    wide = [torch.cat((side.detach(), torch.full((2, 2, 3), fill, dtype=torch.float64)), dim=-2) for side in (x, y)]
    wide[0].requires_grad_()
    held = [torch.cat((side, torch.zeros(2, 2, dtype=torch.float64)), dim=-1) for side in (a, b)]
    found = value_of(layer, *wide, *held, mass=mass)
    assert_close(found, expected, rtol=0.0, atol=EXACTNESS)
    (wide_slope,) = torch.autograd.grad(found.sum(), wide[0])
    assert (wide_slope[:, 4:] == 0).all()
    assert_close(wide_slope[:, :4], slope, rtol=1e-7, atol=1e-8)


def test_features_that_problems_share_are_padding_only_where_none_uses_them() -> None:
    x, y = torch.rand(3, 2), torch.rand(1, 3, 2)
    x[2] = nan
    a = torch.tensor([[0.5, 0.5, 0.0], [0.3, 0.7, 0.0]])
    layer = TransportLoss(reduction="none")
    assert_close(
        layer(x.expand(2, 3, 2), y.expand(2, 3, 2), a), layer(x[:2].expand(2, 2, 2), y.expand(2, 3, 2), a[:, :2])
    )
    with pytest.raises(ValueError, match=r"`cost` must hold numbers or \+inf .*\. Found nan.*\. Replace"):
        layer(x.unsqueeze(0), y, torch.tensor([[0.5, 0.25, 0.25]]))


def test_zeros_beside_features_far_from_zero_cost_digits_and_copies_of_real_ones_do_not() -> None:
    x, y = torch.rand(20, 3) + 1000, torch.rand(20, 3) + 1000
    a = torch.cat((torch.full((20,), 1 / 20), torch.zeros(20)))
    layer = TransportLoss(reg=0.1, mass=0.5)
    expected = layer(x.double() - 1000, y.double() - 1000).item()
    zeros, copies = (
        layer(torch.cat((x, padding)), torch.cat((y, padding)), a, a).item() for padding in (torch.zeros(20, 3), x)
    )
    assert 0.01 < abs(zeros / expected - 1) < 0.1
    assert abs(copies / expected - 1) < 1e-3


def test_costs_of_the_padding_must_be_numbers_where_no_layer_makes_them() -> None:
    """`solve` gets a matrix and does not guess that a NaN was meant for padding."""
    cost, a, b = ragged().padded(nan)
    with pytest.raises(ValueError, match=r"`cost` must hold numbers or \+inf .*\. Found nan in problem 0.*\. Replace"):
        partialot.solve(cost, a, b, mass=0.4, reg=0.1)
