"""`partialot.solve` on a device that its inputs are not on."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

import partialot
from partialot.geometry import Geometry
from partialot.tensors import map_tensors


def solving_on(device: torch.device, solve: Callable[..., partialot.Solution]) -> Callable[..., partialot.Solution]:
    """Give `solve` for inputs of any device that are to be solved on one.

    Args:
        device: Where.
        solve: What solves there.
    """

    def elsewhere(*inputs: Any, **options: Any) -> partialot.Solution:
        there = [_moved(x, device) for x in inputs]
        solution = solve(*there, **{name: _moved(x, device) for name, x in options.items()})
        return _moved(solution, torch.device("cpu"))

    return elsewhere


def _moved(record: Any, device: torch.device) -> Any:
    if isinstance(record, Geometry):
        return record.replace(*(tensor.to(device) for tensor in record.tensors))
    if isinstance(record, partialot.Solution):
        problem = record.problem
        record = replace(record, problem=problem.on(_moved(problem.geometry, device)))
    if isinstance(record, Tensor | partialot.Price | partialot.Solution):
        return map_tensors(record, lambda tensor: tensor.to(device))
    return record
