"""The check of a configuration's fields: what must hold, what was found, what to do."""

from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints


def require(holds: bool, name: str, rule: str, found: object) -> None:
    """Refuse a field's value unless it `holds`.

    Raises:
        ValueError: It does not.
    """
    if not holds:
        raise ValueError(f"`{name}` must {rule}. Found {found!r}. Correct the field, or leave it out for the default.")


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
