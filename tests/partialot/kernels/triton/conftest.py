"""Solves by the kernels in Triton, wherever they run."""

import pytest

from partialot.kernels import cpu, dispatch, triton
from tests.partialot.kernels.on_device import DEVICE


@pytest.fixture
def by_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have tensors of the CPU, which stand for those of a GPU where there is none, served as a GPU's are."""
    if DEVICE.type == "cpu":
        monkeypatch.setattr(cpu, "available", lambda _: False)
        monkeypatch.setattr(triton, "available", lambda _: True)
        monkeypatch.setattr(dispatch, "gains_by_storing", lambda _: False)
