"""What every configuration asks of its values."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints


def require(holds: bool, name: str, rule: str, found: object) -> None:
    """Refuse a field's value unless it `holds`.

    Raises:
        ValueError: It does not.
    """
    if not holds:
        raise ValueError(f"`{name}` must {rule}. Found {found!r}. Correct the field, or leave it out for the default.")


def require_positive(name: str, value: int | float) -> None:
    """Refuse a setting that must be above zero.

    Raises:
        ValueError: It is not.
    """
    if not value > 0:
        raise ValueError(f"`{name}` must be positive. Found `{name} = {value}`. Pass a number above 0.")


def require_not_negative(name: str, value: int | float) -> None:
    """Refuse a setting below zero.

    Raises:
        ValueError: It is.
    """
    if not value >= 0:
        raise ValueError(f"`{name}` must be at least 0. Found `{name} = {value}`. Pass 0 to be without.")


def require_seed(seed: int) -> None:
    """Refuse a seed below zero, which NumPy's generators do not take.

    Raises:
        ValueError: It is.
    """
    if seed < 0:
        raise ValueError(f"`seed` must be at least 0. Found `seed = {seed}`. Pass a non-negative integer such as 0.")


def require_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a setting that is none of its choices.

    Raises:
        ValueError: It is not.
    """
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(choices)}. Found `{name} = {value!r}`. Correct its spelling."
        )


def require_choices(config: Any, prefix: str = "") -> None:
    """Hold every field of a dataclass that is annotated `Literal` to the values listed there.

    A program or a file need not have been type-checked before it made the configuration.

    Args:
        config: The instance.
        prefix: What comes before the fields' names in a message, such as "matching.".

    Raises:
        ValueError: A value is not listed.
    """
    hints = get_type_hints(type(config))
    for field in fields(config):
        if get_origin(hints[field.name]) is Literal:
            choices, found = get_args(hints[field.name]), getattr(config, field.name)
            require(found in choices, prefix + field.name, f"be one of {choices}", found)
