from dataclasses import dataclass
from typing import Literal

import pytest

from fewshot.options import (
    require,
    require_choice,
    require_choices,
    require_not_negative,
    require_positive,
    require_seed,
)


@dataclass(frozen=True)
class Switch:
    """A configuration with one field of listed values and one of any."""

    kind: Literal["full", "partial"]
    name: str = "anything"


@pytest.mark.parametrize("value", [0, -1, -0.5, float("nan")], ids=str)
def test_settings_that_are_not_positive_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"`steps` must be positive\. Found `steps = .*`\. Pass a number above 0"):
        require_positive("steps", value)


def test_settings_that_are_none_of_their_choices_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one of sgd, adamw\. Found `optimizer = 'adam'`\. Correct its spelling"):
        require_choice("optimizer", "adam", ("sgd", "adamw"))


@pytest.mark.parametrize("value", [-1, -0.5, float("nan")], ids=str)
def test_settings_below_nothing_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"`decay` must be at least 0\. Found `decay = .*`\. Pass 0 to be without"):
        require_not_negative("decay", value)


def test_seeds_below_zero_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"`seed` must be at least 0\. Found `seed = -1`\. Pass a non-negative integer"
    ):
        require_seed(-1)


def test_allowed_settings_pass() -> None:
    require_seed(0)
    require_not_negative("decay", 0)
    require_positive("steps", 1)
    require_choice("optimizer", "sgd", ("sgd", "adamw"))


def test_a_rule_that_does_not_hold_is_told_with_what_was_found() -> None:
    require(True, "width", "be even", 4)
    with pytest.raises(
        ValueError, match=r"`width` must be even\. Found 3\. Correct the field, or leave it out for the"
    ):
        require(False, "width", "be even", 3)


def test_every_field_of_listed_values_is_held_to_its_list() -> None:
    require_choices(Switch("full"))
    wrong = Switch("half")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"`flow\.kind` must be one of \('full', 'partial'\)\. Found 'half'\. Correct"):
        require_choices(wrong, "flow.")
