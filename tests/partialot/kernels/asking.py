"""Plain PyTorch as it is on other devices than a CPU, on a CPU."""

import pytest

from partialot.kernels import blocks, reference, terms


def ask_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing decided by numbers that the host would have to wait for."""
    for module in (blocks, reference, terms):
        monkeypatch.setattr(module, "may_ask", lambda _: False)
