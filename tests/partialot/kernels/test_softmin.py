"""Updates of a side against their definitions, written out."""

import pytest
import torch
from torch.testing import assert_close

from partialot.kernels.softmin import add_border, log_sums, softmin

inf = torch.inf


def random_state(*, forbid: bool = False) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    cost = 3 * torch.rand(2, 4, 5, dtype=torch.float64)
    if forbid:
        cost[torch.rand(2, 4, 5) < 0.3] = inf
    weight = torch.rand(2, 6, dtype=torch.float64)
    return cost, torch.randn(2, 6, dtype=torch.float64), weight / weight.sum(-1, keepdim=True)


@pytest.mark.parametrize("forbid", [False, True])
def test_log_sums_are_logarithms_of_weighted_sums(forbid: bool) -> None:
    cost, potential, weight = random_state(forbid=forbid)
    found = log_sums(cost, potential[:, :-1], weight[:, :-1])
    expected = ((potential[:, None, :-1] - cost).exp() * weight[:, None, :-1]).sum(-1).log()
    assert_close(found, expected)


def test_log_sums_of_nothing_are_minus_infinity() -> None:
    cost = torch.full((1, 2, 3), inf)
    assert (log_sums(cost, torch.zeros(1, 3), torch.ones(1, 3)) == -inf).all()
    assert (log_sums(torch.zeros(1, 2, 3), torch.zeros(1, 3), torch.zeros(1, 3)) == -inf).all()
    assert (log_sums(torch.zeros(1, 2, 0), torch.zeros(1, 0), torch.zeros(1, 0)) == -inf).all()


def test_log_sums_do_not_underflow_where_all_terms_are_minute() -> None:
    cost = torch.tensor([[[5000.0, 5001.0]]])
    expected = torch.tensor([[-5000.0]]) + torch.log(torch.tensor(0.5 + 0.5 * torch.e**-1))
    assert_close(log_sums(cost, torch.zeros(1, 2), torch.full((1, 2), 0.5)), expected)


def test_log_sums_have_the_one_sided_derivative_at_a_weight_of_zero() -> None:
    cost, potential, weight = random_state()
    weight = weight[:, :-1].clone()
    weight[:, 2] = 0
    weight.requires_grad_()
    log_sums(cost, potential[:, :-1], weight).sum().backward()
    raised = weight.detach().clone()
    raised[:, 2] = 1e-7
    slope = (log_sums(cost, potential[:, :-1], raised) - log_sums(cost, potential[:, :-1], weight.detach())).sum(
        1
    ) / 1e-7
    assert weight.grad is not None
    assert_close(weight.grad[:, 2], slope, rtol=1e-5, atol=0.0)


def test_the_border_adds_its_one_term() -> None:
    cost, potential, weight = random_state(forbid=True)
    cost[0, 1] = inf
    inner = log_sums(cost, potential[:, :-1], weight[:, :-1])
    expected = (inner.exp() + (weight[:, -1:] * potential[:, -1:].exp())).log()
    assert_close(add_border(inner, potential[:, -1], weight[:, -1]), expected)
    assert_close(add_border(inner, potential[:, -1], torch.zeros_like(weight[:, -1])), inner)


@pytest.mark.parametrize("forbid", [False, True])
def test_softmin_is_that_of_the_matrix_with_its_border_written_out(forbid: bool) -> None:
    cost, potential, weight = random_state(forbid=forbid)
    whole = torch.nn.functional.pad(cost, (0, 1, 0, 1))
    whole[:, -1, -1] = inf
    expected = -torch.logsumexp(potential[:, None] - whole + weight.log()[:, None], dim=-1)
    assert_close(softmin(cost, potential, weight), expected)


def test_softmin_leaves_a_node_without_partners_at_zero() -> None:
    cost = torch.tensor([[[inf, inf], [0.0, 1.0]]])
    weight = torch.tensor([[0.5, 0.5, 0.0]])
    assert softmin(cost, torch.ones(1, 3), weight)[0, 0] == 0
