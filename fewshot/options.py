"""What every configuration asks of its values."""

from collections.abc import Sequence


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


def require_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a setting that is none of its choices.

    Raises:
        ValueError: It is not.
    """
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(choices)}. Found `{name} = {value!r}`. Correct its spelling."
        )
