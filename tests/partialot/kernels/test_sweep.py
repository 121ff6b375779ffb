"""The one-exponential sweep against sums over the plan written out, inside and outside the range of exponentials."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from partialot.kernels.reference import log_sums
from partialot.kernels.sweep import Weights, column_pass, row_pass


def bordered_sums(cost: Tensor, f: Tensor, g: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of each row's real and whole sum over its weight, with the border written out, in float64."""
    f, g, weight = f.double(), g.double(), weight.double()
    real = f[:, :-1] + log_sums(cost.double(), g[:, :-1], weight[:, :-1])
    return real, torch.logaddexp(real, f[:, :-1] + (g[:, -1:] + weight[:, -1:].log()))


def state(spread: float, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Weights, Weights]:
    cost = spread * torch.rand(3, 4, 6, dtype=dtype)
    a, b = torch.rand(3, 5, dtype=dtype), torch.rand(3, 7, dtype=dtype)
    a, b = a / a.sum(-1, keepdim=True), b / b.sum(-1, keepdim=True)
    return cost, torch.randn(3, 5, dtype=dtype), torch.randn(3, 7, dtype=dtype), Weights.of(a), Weights.of(b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("spread", [3.0, 3e4])
def test_rows_are_summed_right_in_and_out_of_range(spread: float, dtype: torch.dtype) -> None:
    cost, f, g, a, b = state(spread, dtype)
    rows = row_pass(cost, f, g, a, b, torch.empty_like(cost))
    real, whole = bordered_sums(cost, f, g, b.value)
    accuracy = 20 * torch.finfo(dtype).eps * spread
    assert_close(rows.log_total[:, :-1].double(), whole, rtol=0.0, atol=accuracy)
    assert_close(rows.fraction[:, :-1].double(), (real - whole).exp(), rtol=accuracy, atol=accuracy)


@pytest.mark.parametrize("without_dummy", [False, True])
def test_rows_that_underflow_are_found_and_summed_in_the_log_domain(without_dummy: bool) -> None:
    cost, f, g, a, b = state(3.0, torch.float32)
    cost[1] += 5e3
    if without_dummy:
        b = Weights.of(torch.cat((b.value[:, :-1], torch.zeros(3, 1)), dim=-1))
    rows = row_pass(cost, f, g, a, b, torch.empty_like(cost))
    assert rows.stable.tolist() == [True, not without_dummy, True]
    assert_close(rows.log_total[:, :-1].double(), bordered_sums(cost, f, g, b.value)[1], rtol=0.0, atol=2e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("spread", [3.0, 3e4])
def test_columns_and_mass_are_summed_right_after_the_rows_were_rescaled(spread: float, dtype: torch.dtype) -> None:
    cost, f, g, a, b = state(spread, dtype)
    rows = row_pass(cost, f, g, a, b, torch.empty_like(cost))
    f = f - rows.log_total
    columns = column_pass(cost, rows, f, g, a, b)
    real, whole = bordered_sums(cost.mT, g, f, a.value)
    accuracy = 20 * torch.finfo(dtype).eps * spread
    assert_close(columns.log_total.double(), whole, rtol=0.0, atol=accuracy)
    assert_close(columns.fraction.double(), (real - whole).exp(), rtol=accuracy, atol=accuracy)
    mass = torch.logsumexp(b.log[:, :-1].double() + real - whole, dim=-1, keepdim=True)
    assert_close(columns.log_mass.double(), mass, rtol=0.0, atol=accuracy)
    edge = torch.logsumexp(a.log[:, :-1].double() + f[:, :-1].double(), dim=-1, keepdim=True)
    assert_close(columns.edge.double(), edge, rtol=0.0, atol=accuracy)


def test_targets_of_weight_zero_are_left_alone() -> None:
    cost, f, g, a, b = state(3.0, torch.float64)
    emptied = b.value.clone()
    emptied[:, 2] = 0
    b = Weights.of(emptied)
    rows = row_pass(cost, f, g, a, b, torch.empty_like(cost))
    columns = column_pass(cost, rows, f - rows.log_total, g, a, b)
    assert (columns.log_total[:, 2] == 0).all()
    assert (columns.fraction[:, 2] == 0).all()
