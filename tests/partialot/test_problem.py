"""Wrong arguments are refused at the border, by a message that says what must hold, what was found and what to do."""

import re
from math import inf, nan
from typing import Any

import pytest
import torch

import partialot

NUMBERS: dict[str, Any] = {
    "cost": torch.rand(2, 3),
    "a": torch.tensor([0.5, 0.5]),
    "b": torch.tensor([0.4, 0.4, 0.2]),
    "mass": 0.5,
}


def sentences(argument: str, found: str) -> str:
    """A pattern for the three sentences: the argument in backticks, what was found, and a remedy after that."""
    return rf"(?s)`{argument}.*must.*\. Found .*{found}.*\. [A-Z][a-z]+ .*\."


def assert_refused(error: type[Exception], match: str, changes: dict[str, Any]) -> None:
    """`solve` raises `error` for the good numbers above with `changes`, whatever the solver."""
    for reg in (0.1, None):
        arguments = {**NUMBERS, "reg": reg} | changes
        with pytest.raises(error, match=match):
            partialot.solve(arguments.pop("cost"), **arguments)


def changed(argument: str, index: tuple[int, ...], number: float) -> dict[str, torch.Tensor]:
    """The good tensor of that name with one number changed."""
    tensor = torch.as_tensor(NUMBERS[argument]).clone()
    tensor[index] = number
    return {argument: tensor}


def test_the_numbers_that_the_refusals_start_from_are_solved() -> None:
    assert partialot.solve(**NUMBERS, reg=0.1).converged


@pytest.mark.parametrize("number", [nan, -inf])
def test_costs_that_are_no_price_are_refused(number: float) -> None:
    assert_refused(ValueError, sentences("cost", re.escape(str(number))), changed("cost", (1, 2), number))


@pytest.mark.parametrize("argument", ["a", "b"])
@pytest.mark.parametrize("number", [nan, inf, -0.25])
def test_weights_that_are_no_amount_are_refused(argument: str, number: float) -> None:
    assert_refused(ValueError, sentences(argument, re.escape(str(number))), changed(argument, (1,), number))


@pytest.mark.parametrize("number", [nan, inf, -0.25])
def test_masses_that_are_no_amount_are_refused(number: float) -> None:
    assert_refused(ValueError, sentences("mass", re.escape(str(number))), {"mass": number})


@pytest.mark.parametrize("number", [nan, inf, -0.25, 0.0])
def test_regularisation_must_be_positive_and_finite(number: float) -> None:
    with pytest.raises(ValueError, match=sentences("reg", re.escape(str(number).rstrip("0").rstrip(".")))):
        partialot.solve(**NUMBERS, reg=number)


def test_more_mass_than_the_weights_hold_is_refused_with_both_totals() -> None:
    """Both the mass and the most there is are told, and what to do."""
    for held, weights in (("1", [0.5, 0.5]), (r"0\.75", [0.25, 0.5])):
        match = rf"must not exceed.*\. Found `mass = 1\.25` .* {held} is available.*\. .*smaller `mass`"
        assert_refused(partialot.InfeasibleProblemError, match, {"mass": 1.25, "a": torch.tensor(weights)})


def test_mass_a_little_over_the_weights_is_refused_in_float64_and_forgiven_below_rounding() -> None:
    weights = torch.ones(4, dtype=torch.float64)
    cost = torch.rand(4, 4, dtype=torch.float64)
    with pytest.raises(partialot.InfeasibleProblemError, match="mass"):
        partialot.solve(cost, weights, weights, mass=4.0 * (1 + 1e-12), reg=0.1)
    assert partialot.solve(cost, weights, weights, mass=4.0 * (1 + 4e-16), reg=0.1).converged


def test_unequal_totals_are_refused_in_balanced_transport() -> None:
    assert_refused(
        partialot.InfeasibleProblemError,
        r"(?s)`a.*`b.*must.*\. Found .*1\.5.*\. [A-Z][a-z]+ .*mass",
        {"a": torch.tensor([0.75, 0.75]), "mass": None},
    )


def test_mass_without_nodes_is_refused() -> None:
    assert_refused(
        partialot.InfeasibleProblemError,
        r"must not exceed.*\. Found `mass = 0\.5` .* 0 is available.*\. .*smaller `mass`",
        {"cost": torch.zeros(0, 3), "a": torch.zeros(0)},
    )


def test_the_first_offending_problem_of_a_batch_is_named() -> None:
    mass = torch.tensor([[0.1, 0.2, 0.3], [0.4, 1.5, 1.75]])
    assert_refused(partialot.InfeasibleProblemError, r"(?s)Found `mass = 1\.5`.*\(1, 1\)", {"mass": mass})


@pytest.mark.parametrize(
    ("argument", "tensor"),
    [
        ("cost", torch.rand(3)),
        ("a", torch.rand(3)),
        ("b", torch.rand(2)),
        ("a", torch.tensor(1.0)),
        ("mass", torch.rand(2, 3)),
        ("reg", torch.rand(2, 3)),
    ],
    ids=lambda value: value if isinstance(value, str) else str(tuple(value.shape)),
)
def test_shapes_that_do_not_fit_are_refused_with_both_shapes(argument: str, tensor: torch.Tensor) -> None:
    batched: dict[str, Any] = {**NUMBERS, "cost": torch.rand(4, 2, 3), "reg": 0.1} | {argument: tensor}
    found = ", ".join(map(str, tensor.shape))
    with pytest.raises(ValueError, match=rf"(?s)`{argument}.*{re.escape(found)}"):
        partialot.solve(batched.pop("cost"), **batched)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64], ids=str)
@pytest.mark.parametrize("argument", ["cost", "a", "b", "mass", "reg"])
def test_tensors_that_are_not_real_floats_are_refused(argument: str, dtype: torch.dtype) -> None:
    arguments: dict[str, Any] = {**NUMBERS, "reg": 0.1} | {
        argument: torch.as_tensor(NUMBERS.get(argument, 0.5)).to(dtype)
    }
    with pytest.raises(TypeError, match=sentences(argument, str(dtype))):
        partialot.solve(arguments.pop("cost"), **arguments)


@pytest.mark.parametrize("argument", ["a", "b", "mass", "reg"])
def test_mixed_dtypes_are_refused_naming_both(argument: str) -> None:
    arguments: dict[str, Any] = {**NUMBERS, "reg": 0.1} | {
        argument: torch.as_tensor(NUMBERS.get(argument, 0.5)).double()
    }
    with pytest.raises(TypeError, match=r"(?s)float32.*float64|float64.*float32"):
        partialot.solve(arguments.pop("cost"), **arguments)


@pytest.mark.parametrize("argument", ["a", "b", "mass", "reg"])
def test_mixed_devices_are_refused_naming_both(argument: str) -> None:
    arguments: dict[str, Any] = {**NUMBERS, "reg": 0.1} | {
        argument: torch.as_tensor(NUMBERS.get(argument, 0.5)).to("meta")
    }
    with pytest.raises((TypeError, ValueError), match=r"(?s)cpu.*meta|meta.*cpu"):
        partialot.solve(arguments.pop("cost"), **arguments)


@pytest.mark.parametrize(
    ("argument", "value"), [("cost", [[0.0, 1.0]]), ("a", [1.0]), ("mass", "half"), ("reg", "small")]
)
def test_arguments_of_another_type_are_refused(argument: str, value: object) -> None:
    arguments: dict[str, Any] = {**NUMBERS, "reg": 0.1} | {argument: value}
    with pytest.raises(TypeError, match=rf"`{argument}` must be .*\. Found {type(value).__name__}\. [A-Z]"):
        partialot.solve(arguments.pop("cost"), **arguments)


def test_a_solver_that_does_not_fit_the_regularisation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"(?s)`reg`.*\. [A-Z]"):
        partialot.solve(**NUMBERS, solver=partialot.Sinkhorn())
    with pytest.raises(ValueError, match=r"(?s)`reg`.*\. [A-Z]"):
        partialot.solve(**NUMBERS, reg=0.1, solver=partialot.ExactLP())


@pytest.mark.parametrize("mass", [None, 1.0])
def test_a_source_with_mass_and_no_allowed_target_is_never_given_one(mass: float | None) -> None:
    """A whole forbidden row in balanced transport: refused, or unconverged with nothing on the forbidden pairs."""
    arguments: dict[str, Any] = {**NUMBERS, "mass": mass} | {"cost": torch.tensor([[inf, inf, inf], [0.1, 0.2, 0.3]])}
    for reg in (0.1, None):
        with pytest.raises(partialot.InfeasibleProblemError, match=r"(?s)`cost.*\. [A-Z]"):
            partialot.solve(**arguments, reg=reg)


def test_too_little_capacity_beside_forbidden_pairs_is_refused() -> None:
    """Both sources may reach the first target only, which holds 0.4 of the 0.6 asked for."""
    cost = torch.tensor([[0.1, inf, inf], [0.2, inf, inf]])
    found = r"weights that `cost` allows to pair\. Found `mass = 0\.6.*0\.4.*\. Allow more pairs .*smaller `mass`"
    assert_refused(partialot.InfeasibleProblemError, found, {"cost": cost, "mass": 0.6})


def test_a_bottleneck_that_only_the_solver_can_see_is_never_bridged() -> None:
    """Every node has an allowed pair, yet two sources share one target: 0.6 can move of the 0.9 asked for."""
    cost = torch.tensor([[0.1, inf, inf], [0.2, inf, inf], [inf, 0.1, 0.2]])
    a, b = torch.tensor([0.4, 0.4, 0.2]), torch.tensor([0.4, 0.3, 0.3])
    with pytest.warns(partialot.ConvergenceWarning, match=r"constraint violation.*Found \d\.\d+ of the mass.*Raise"):
        solution = partialot.solve(cost, a, b, mass=0.9, reg=0.1, solver=partialot.Sinkhorn(max_iter=200))
    assert not solution.converged
    assert (solution.plan[cost.isinf()] == 0).all()
    assert solution.plan.isfinite().all()
    with pytest.raises(partialot.InfeasibleProblemError, match=r"`cost` allows.*without an allowed way\. Allow"):
        partialot.solve(cost, a, b, mass=0.9)
