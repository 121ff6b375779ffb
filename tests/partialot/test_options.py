"""What `solve` says to options of the wrong kind."""

from typing import Any

import numpy as np
import pytest
import torch

import partialot

COST = torch.rand(3, 4)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("solver", "sinkhorn"),
        ("solver", partialot.Sinkhorn),
        ("gradient", "implicit"),
        ("gradient", None),
        ("init", "x"),
        ("init", (torch.zeros(3), torch.zeros(4))),
    ],
)
def test_options_of_the_wrong_kind_are_refused(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"`{name}` must be a .*\. Found .*\. Pass an instance, or leave `{name}` out"):
        partialot.solve(COST, reg=0.1, **{name: value})


@pytest.mark.parametrize("value", [10**400, float("inf"), 1e-46])
def test_numbers_that_the_type_cannot_hold_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"`mass` must be .*\. Found .*\. (Pass|Work)"):
        partialot.solve(COST, mass=value, reg=0.1)


@pytest.mark.parametrize(
    ("cost", "reg"),
    [
        (torch.tensor([[-3e38, 3e38], [3e38, -3e38]]), 1e37),
        (torch.tensor([[-3e38, 3e38], [3e38, 3e38]]), None),
        (COST, 1e-40),
        (COST, 3e38),
    ],
)
def test_ranges_that_overflow_are_refused(cost: torch.Tensor, reg: float | None) -> None:
    with pytest.raises(ValueError, match=r"The range of `cost`, `reg` .* must be .*\. Found .*\. Rescale both"):
        partialot.solve(cost, reg=reg)


def test_a_mass_below_the_smallest_part_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`mass` must be 0 or a part .*\. Found `mass = 1e-40`\. Pass 0, or"):
        partialot.solve(COST, mass=torch.tensor(1e-40), reg=0.1)


def test_scalars_of_numpy_are_numbers() -> None:
    assert torch.equal(
        partialot.solve(COST, mass=np.float32(0.5), reg=np.float64(0.25)).plan,  # pyright: ignore[reportArgumentType]
        partialot.solve(COST, mass=0.5, reg=0.25).plan,
    )


@pytest.mark.parametrize("options", [{"max_iter": 0}, {"max_iter": 2.5}, {"tol": 0.0}])
def test_settings_of_the_adjoint_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match=r"(?s)max_iter|tol"):
        partialot.Implicit(**options)
