"""On a machine with a GPU, `pytest -m gpu` tests properties and derivatives there too.

The tests are those of the CPU: `partialot.solve` takes their inputs to the GPU and brings what it finds home, and
derivatives flow through both.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import partialot
from partialot.geometry import Geometry
from partialot.tensors import map_tensors

_TOO = {
    "test_capped.py",
    "test_certificate.py",
    "test_entropic_against_reference.py",
    "test_gradients.py",
    "test_gradients_at_the_edges.py",
    "test_invariances.py",
    "test_padding.py",
    "test_price.py",
    "test_solution.py",
    "test_amounts.py",
    "test_derivatives.py",
    "test_forbidden_pairs.py",
}
"""Files whose tests a GPU has to pass as well."""


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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let `-m gpu` choose them."""
    if config.option.markexpr == "gpu":
        for item in items:
            if item.path.name in _TOO and "partialot" in item.path.parts:
                item.add_marker(pytest.mark.gpu)


@pytest.fixture(autouse=True)
def solves_on_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Solve on the GPU what is tested there."""
    if request.node.path.name in _TOO and request.node.get_closest_marker("gpu") is not None:
        monkeypatch.setattr(partialot, "solve", solving_on(torch.device("cuda"), partialot.solve))
