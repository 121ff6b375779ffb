"""The wheel, installed where nothing else is, works from there and not from the source tree."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

SOLVES = """
import json, torch, fewshot, partialot
from partialot.kernels.native import library
entropic = partialot.solve(torch.eye(3), mass=0.5, reg=0.1)
exact = partialot.solve(torch.eye(3), mass=0.5)
found = {
    "files": [partialot.__file__, fewshot.__file__],
    "kernels": library() is not None,
    "converged": bool(entropic.converged),
    "moved": [entropic.plan.sum().item(), exact.plan.sum().item()],
}
print(json.dumps(found))
"""
MOVED = 1e-6
"""Rounding of the total of a plan in float32."""


def run(command: list[str | Path], environment: Mapping[str, str], folder: Path) -> str:
    """Give what a command prints in a folder that is not the source tree."""
    return subprocess.run(command, env=environment, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(shutil.which("c++") is None, reason="the kernels are compiled by a C++ compiler")
def test_it_compiles_its_kernels_and_solves(installed: Path, environment: Mapping[str, str], tmp_path: Path) -> None:
    found = json.loads(run([sys.executable, "-c", SOLVES], environment, tmp_path))
    assert all(Path(file).is_relative_to(installed) for file in found["files"])
    assert found["kernels"]
    assert list((tmp_path / "cache" / "partialot").glob("*.so"))
    assert found["converged"]
    assert found["moved"] == pytest.approx([0.5, 0.5], abs=MOVED)


def test_its_command_lists_the_commands(installed: Path, environment: Mapping[str, str], tmp_path: Path) -> None:
    shown = run([installed / "bin" / "fewshot", "--help"], environment, tmp_path)
    assert "usage: fewshot" in shown
    assert "reproduce" in shown


def test_its_command_finds_its_presets(installed: Path, environment: Mapping[str, str], tmp_path: Path) -> None:
    program = "from fewshot.presets import list_presets, locate_preset; print(*map(locate_preset, list_presets()))"
    files = [Path(file) for file in run([sys.executable, "-c", program], environment, tmp_path).split()]
    assert len(files) > 1
    assert all(file.is_file() and file.is_relative_to(installed) for file in files)
