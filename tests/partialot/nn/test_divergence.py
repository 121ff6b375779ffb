"""The Sinkhorn divergence: 0 on itself, never negative, between the linear programme and the kernel norm."""

from typing import Any

import hypothesis
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

import partialot
from partialot.geometry.costs import COSTS
from partialot.nn import SinkhornDivergence, TransportLoss

SOLVER = partialot.Sinkhorn(max_iter=5_000, tol=1e-11)
MASSES = pytest.mark.parametrize("mass", [None, 0.4], ids=["balanced", "partial"])
KERNELS = pytest.mark.parametrize("cost", COSTS)


def points(*shape: int) -> Tensor:
    """Reproducible features in float64, of the size of `reg`: large ones only take more sweeps."""
    return torch.rand(*shape, dtype=torch.float64)


def weights(*shape: int, total: float = 1.0) -> Tensor:
    """Reproducible weights of one total."""
    drawn = torch.rand(*shape, dtype=torch.float64) + 0.2
    return drawn * (total / drawn.sum(-1, keepdim=True))


def divergence(x: Tensor, y: Tensor, a: Tensor | None = None, b: Tensor | None = None, **settings: Any) -> Tensor:
    """A divergence each, solved to 1e-11."""
    mass = settings.pop("mass", None)
    return SinkhornDivergence(**{"reg": 0.5, "solver": SOLVER, "reduction": "none"} | settings)(x, y, a, b, mass=mass)


@KERNELS
@MASSES
def test_features_are_at_no_distance_from_themselves(cost: str, mass: float | None) -> None:
    x, a = points(2, 5, 3), weights(2, 5)
    assert (divergence(x, x.clone(), a, a.clone(), cost=cost, mass=mass) == 0).all()


@MASSES
def test_it_is_the_value_across_less_half_of_both_within(mass: float | None) -> None:
    """Three explicit solves; totals agree, so nothing else is added."""
    x, y, a, b = points(2, 5, 3), points(2, 6, 3), weights(2, 5), weights(2, 6)
    squares = (("xy", x, y, a, b), ("xx", x, x, a, a), ("yy", y, y, b, b))
    value = {
        name: partialot.solve(torch.cdist(s, t).square(), u, v, mass=mass, reg=0.5, solver=SOLVER).value
        for name, s, t, u, v in squares
    }
    expected = value["xy"] - value["xx"] / 2 - value["yy"] / 2
    assert_close(divergence(x, y, a, b, mass=mass), expected, rtol=1e-10, atol=1e-12)


def test_unequal_totals_are_paid_for_by_their_entropy() -> None:
    """Everything at one point, so that no price and no shape is left: without J it would be negative."""
    here, reg, mass = torch.zeros(1, 2, dtype=torch.float64), 0.5, 0.3
    a, b = torch.tensor([1.0], dtype=torch.float64), torch.tensor([2.0], dtype=torch.float64)
    plain = TransportLoss(reg=reg, mass=mass, solver=SOLVER)
    uncorrected = plain(here, here, a, b) - plain(here, here, a, a) / 2 - plain(here, here, b, b) / 2
    t_a, t_b, t = (torch.tensor(total, dtype=torch.float64) for total in (2 - mass, 4 - mass, 3 - mass))
    assert_close(uncorrected, reg * (t * t.log() - t_a * t_a.log() / 2 - t_b * t_b.log() / 2))
    assert uncorrected < -0.05
    assert_close(divergence(here, here, a, b, reg=reg, mass=mass).item(), 0.0, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("mass", [0.0, 0.5])
def test_an_empty_set_and_no_mass_give_zero(mass: float) -> None:
    x, y = points(4, 3), points(5, 3)
    a, b = weights(4), weights(5, total=mass)
    if mass:
        assert (divergence(x, x, a, a, mass=mass) == 0).all()
    else:
        assert_close(divergence(x, y, a, b, mass=0.0).item(), 0.0, rtol=0.0, atol=1e-10)


@hypothesis.settings(max_examples=25)
@given(st.data())
def test_it_is_never_negative(data: st.DataObject) -> None:
    """For positive definite kernels, equal and unequal totals, zero weights, any part of the mass."""
    torch.manual_seed(data.draw(st.integers(0, 9999)))
    n, m = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    x, y, a, b = points(n, 2), points(m, 2), weights(n), weights(m)
    if data.draw(st.booleans()):
        y[0] = x[0]
    if n > 1 and data.draw(st.booleans()):
        a = weights(n - 1)
        a = torch.cat((torch.zeros_like(a[:1]), a))
    b = b * data.draw(st.sampled_from([0.5, 1.0, 4.0]))
    total = torch.minimum(a.sum(), b.sum()).item()
    mass = data.draw(st.sampled_from([None, 1e-3 * total, 0.2 * total, 0.7 * total, 0.99 * total]))
    if mass is None:
        b = b / b.sum()
    settings = {"cost": data.draw(st.sampled_from(list(COSTS))), "reg": data.draw(st.sampled_from([0.3, 1.0, 10.0]))}
    assert divergence(x, y, a, b, mass=mass, solver=partialot.Sinkhorn(5_000, 1e-7), **settings) >= -1e-10


@KERNELS
@MASSES
def test_large_regularisation_leaves_half_the_kernel_norm(cost: str, mass: float | None) -> None:
    """−(M/2) · (a − b)ᵀ C (a − b) over all features, half the energy distance under "euclidean"."""
    x, y, a, b = points(4, 2), points(5, 2), weights(4), weights(5)
    everything, signed = torch.cat((x, y)), torch.cat((a, -b))
    limit = -(1.0 if mass is None else mass) / 2 * signed @ COSTS[cost](everything, everything) @ signed
    assert_close(divergence(x, y, a, b, cost=cost, reg=1e5, mass=mass), limit, rtol=1e-3, atol=1e-5)


@MASSES
def test_small_regularisation_leaves_the_linear_programme(mass: float | None) -> None:
    x, y, a, b = 4 * points(4, 2), 4 * points(5, 2), weights(4), weights(5)
    exact = TransportLoss(reg=None, mass=mass)(x, y, a, b)
    solver = partialot.Sinkhorn(20_000, 1e-5)
    # Each entropy is at most some units; their differences here are less than one.
    assert_close(divergence(x, y, a, b, reg=0.01, mass=mass, solver=solver), exact, rtol=0.0, atol=0.01)


@MASSES
def test_two_points_have_their_closed_form(mass: float | None) -> None:
    """A point each and total 1: the plan is M, nothing is left to choose, S = M · |x − y|²."""
    x, y = points(1, 3), points(1, 3)
    expected = (1.0 if mass is None else mass) * (x - y).square().sum()
    assert_close(divergence(x, y, mass=mass), expected, rtol=1e-12, atol=0.0)


def test_it_is_symmetric_and_does_not_see_order_place_or_turn() -> None:
    x, y, a, b = points(5, 2), points(6, 2), weights(5), weights(6)
    expected = divergence(x, y, a, b, mass=0.4)
    turn = torch.linalg.qr(points(2, 2))[0]
    moved, order = torch.tensor([3.0, -2.0], dtype=torch.float64), torch.randperm(5)
    for found in (
        divergence(y, x, b, a, mass=0.4),
        divergence(x[order], y, a[order], b, mass=0.4),
        divergence(x @ turn + moved, y @ turn + moved, a, b, mass=0.4),
        divergence(x, y, 3 * a, 3 * b, mass=1.2) / 3,
        divergence(2 * x, 2 * y, a, b, reg=2.0, mass=0.4) / 4,
    ):
        assert_close(found, expected, rtol=1e-9, atol=1e-12)


@MASSES
def test_derivatives_are_those_of_the_number(mass: float | None) -> None:
    x, y = points(3, 2).requires_grad_(), points(4, 2).requires_grad_()
    a, b = weights(3), weights(4)
    assert torch.autograd.gradcheck(lambda x, y: divergence(x, y, a, b, mass=mass), (x, y), atol=1e-6, fast_mode=True)


def test_derivatives_reach_weights_and_mass_and_the_term_of_unequal_totals() -> None:
    x, y = points(3, 2), points(4, 2)
    leaves = (weights(3).requires_grad_(), weights(4, total=2.0).requires_grad_())
    mass = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b, m: divergence(x, y, a, b, mass=m), (*leaves, mass), atol=1e-6)


def test_descending_it_reaches_the_target_where_the_plain_loss_shrinks() -> None:
    target = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    ends = {}
    for kind in (SinkhornDivergence, TransportLoss):
        found = torch.tensor([[-0.4, 0.3], [0.5, 0.1]], requires_grad=True)
        loss, optimizer = kind(reg=2.0), torch.optim.SGD([found], lr=0.5)
        for _ in range(30):
            optimizer.zero_grad()
            loss(found, target).backward()
            optimizer.step()
        ends[kind] = found.detach()
    assert_close(ends[SinkhornDivergence], target, rtol=0.0, atol=1e-2)
    assert ends[TransportLoss].norm(dim=-1).max() < 0.9


def test_at_its_least_the_derivative_is_zero() -> None:
    x = points(5, 2).requires_grad_()
    for mass in (None, 0.4):
        (gradient,) = torch.autograd.grad(divergence(x, x.detach().clone(), mass=mass).sum(), x)
        assert_close(gradient, torch.zeros_like(gradient), rtol=0.0, atol=1e-9)


def test_problems_of_a_batch_are_reduced_like_those_of_the_loss() -> None:
    x, y, mass = points(3, 4, 2), points(3, 5, 2), torch.tensor([0.2, 0.4, 0.6], dtype=torch.float64)
    each = divergence(x, y, mass=mass)
    alone = torch.stack([divergence(x[i], y[i], mass=mass[i]) for i in range(3)])
    assert_close(each, alone, rtol=1e-9, atol=1e-12)
    assert_close(divergence(x, y, mass=mass, reduction="mean"), each.mean())
    assert_close(divergence(x, y, mass=mass, reduction="sum"), each.sum())
    assert_close(SinkhornDivergence(reg=0.5, mass=0.2, solver=SOLVER, reduction="none")(x[:1], y[:1]), each[:1])


def test_weights_without_a_batch_are_shared_by_its_problems() -> None:
    x, y, a, b = points(3, 4, 2), points(3, 5, 2), weights(4), weights(5)
    alone = torch.stack([divergence(x[i], y[i], a, b, mass=0.4) for i in range(3)])
    assert_close(divergence(x, y, a, b, mass=0.4), alone, rtol=1e-9, atol=1e-12)


def test_in_float32_it_is_within_rounding_of_float64() -> None:
    """S is a difference of values, whose rounding it carries: here V is some tenths, S some thousandths."""
    x, y = points(8, 30, 2), points(8, 30, 2)
    double = divergence(x, y, mass=0.5)
    single = SinkhornDivergence(reg=0.5, mass=0.5, reduction="none")(x.float(), y.float())
    assert single.dtype == torch.float32
    assert_close(single.double(), double, rtol=0.0, atol=1e-6)


def test_without_regularisation_it_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`reg` must be a positive number .*\. Found None\. Pass one, or take `Tran"):
        SinkhornDivergence(reg=None)  # pyright: ignore[reportArgumentType]
