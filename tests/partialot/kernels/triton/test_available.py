"""Which tensors the kernels in Triton take, and what is told where they could but are not there."""

import importlib.util
import logging
import subprocess
import sys

import pytest
import torch

from partialot.kernels import triton

GPU = torch.device("cuda")


def serves(monkeypatch: pytest.MonkeyPatch, *, capability: tuple[int, int], installed: bool) -> bool:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object() if installed else None)
    return triton._serves.__wrapped__(GPU)


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_gpus_are_served_that_triton_compiles_for(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: bool
) -> None:
    assert serves(monkeypatch, capability=capability, installed=True) is expected


def test_a_gpu_without_triton_is_told_of_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="partialot"):
        assert not serves(monkeypatch, capability=(9, 0), installed=False)
    assert "None is installed. Install it (pip install 'partialot[triton]')" in caplog.text


def test_tensors_of_a_cpu_are_never_taken() -> None:
    """Not even while kernels are interpreted, as they are here."""
    assert not triton.available(torch.zeros(1, 2, 3))


def test_importing_partialot_imports_no_triton() -> None:
    code = "import sys, partialot; sys.exit('triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=100).returncode == 0
