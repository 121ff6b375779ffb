"""The tensors inside of frozen records: one walk for whoever replaces all of them."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import TypeVar, cast

from torch import Tensor

from partialot.geometry import Geometry

T = TypeVar("T")


def map_tensors(record: T, change: Callable[[Tensor], Tensor]) -> T:
    """Give a dataclass with every tensor of its fields, of tuples and of dataclasses among them, changed.

    Prices stay as they are: a geometry knows best how to be one of other tensors. The order is that of the fields.

    Args:
        record: A dataclass, a tuple or a tensor; anything else is given back.
        change: What becomes of each tensor.
    """
    if isinstance(record, Tensor):
        return cast(T, change(record))
    if isinstance(record, tuple):
        return cast(T, tuple(map_tensors(part, change) for part in cast("tuple[object, ...]", record)))
    if is_dataclass(record) and not isinstance(record, Geometry | type):
        parts = {field.name: map_tensors(getattr(record, field.name), change) for field in fields(record)}
        return cast(T, replace(record, **parts))
    return record
