"""The benchmark of a CUDA device, rehearsed in miniature on the CPU: whatever card it meets, the program has run."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "benchmarks/bench_gpu.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=200)


@pytest.mark.timeout(220)
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="the measuring kernels need Triton")
def test_a_rehearsal_measures_every_ceiling_and_names_what_is_not_installed(tmp_path: Path) -> None:
    kept = tmp_path / "gpu.json"
    done = bench("--rehearse", "--rows", "hessian", "--out", str(kept))
    assert done.returncode == 0, done.stderr
    assert "row 10 (hessian)" in done.stdout
    assert "FAILED" not in done.stdout
    assert "NOT INSTALLED" in done.stdout
    assert "no time above means anything" in done.stdout
    assert not kept.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_cuda_device_nothing_is_measured_and_the_refusal_says_what_to_do() -> None:
    done = bench("--rows", "hessian")
    assert done.returncode == 1
    assert "A CUDA device must be there to be measured. Found none by PyTorch" in done.stderr
    assert "pass `--rehearse`" in done.stderr


def test_a_row_that_does_not_exist_is_refused_with_the_names_of_those_that_do() -> None:
    done = bench("--rows", "nothing")
    assert done.returncode == 2
    assert "`--rows` must name rows. Found nothing. Choose from:" in done.stderr
    assert "hessian" in done.stderr
