"""The kernels in Triton for tensors on the CPU: moved to the GPU where there is one, else interpreted on the spot."""

import importlib.util
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from partialot.kernels import triton
from partialot.kernels.primitives import Entries

HOME, DEVICE = torch.device("cpu"), torch.device("cuda" if torch.cuda.is_available() else "cpu")

MARKS = [
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed"),
    *([pytest.mark.gpu] if DEVICE.type == "cuda" else []),
    # NumPy, by which kernels are interpreted, tells of infinities; a GPU does not.
    pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning"),
]
"""Of every test that runs kernels."""


def move(record: Any, device: torch.device) -> Any:
    """Give a tensor, or whatever holds tensors, on a device."""
    if isinstance(record, Tensor):
        return record.to(device)
    if isinstance(record, tuple):
        parts = [move(part, device) for part in record]
        return type(record)(*parts) if hasattr(record, "_fields") else tuple(parts)
    if is_dataclass(record) and not isinstance(record, type):
        return replace(record, **{field.name: move(getattr(record, field.name), device) for field in fields(record)})
    return record


def there_and_back(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function of tensors on the device as one of tensors on the CPU."""
    return lambda *given: move(function(*(move(part, DEVICE) for part in given)), HOME)


def _write_out(entries: Entries) -> None:
    there = move(entries, DEVICE)
    triton.write_out(there)
    assert entries.stored is not None
    entries.stored.copy_(there.stored)


triton_kernels = SimpleNamespace(
    write_out=_write_out,
    **{
        name: there_and_back(getattr(triton, name))
        for name in (
            "row_pass",
            "stretch",
            "sandwich",
            "evaluated_sandwich",
            "column_log_sums",
            "column_minima",
            "row_minima",
            "cloud_pass",
            "cloud_stretch",
            "cloud_column_log_sums",
            "cloud_product",
            "measure",
            "update",
        )
    },
)
