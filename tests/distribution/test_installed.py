"""The wheel, installed in an environment of its own, works from there and not from the source tree."""

import json
import shutil
from pathlib import Path

import pytest

from tests.distribution.conftest import Environment

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


@pytest.mark.skipif(shutil.which("c++") is None, reason="the kernels are compiled by a C++ compiler")
def test_it_compiles_its_kernels_and_solves(installed: Environment, tmp_path: Path) -> None:
    program = [installed.python, "-c", SOLVES]
    found = json.loads(installed.run(program, tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache")))
    assert all(Path(file).is_relative_to(installed.folder) for file in found["files"])
    assert found["kernels"]
    assert list((tmp_path / "cache" / "partialot").glob("*.so"))
    assert found["converged"]
    assert found["moved"] == pytest.approx([0.5, 0.5], abs=MOVED)


def test_its_command_lists_the_commands(installed: Environment, tmp_path: Path) -> None:
    shown = installed.run([installed.folder / "bin" / "fewshot", "--help"], tmp_path)
    assert "usage: fewshot" in shown
    assert "reproduce" in shown


def test_its_presets_are_found(installed: Environment, tmp_path: Path) -> None:
    program = "from fewshot.presets import list_presets, locate_preset; print(*map(locate_preset, list_presets()))"
    files = [Path(file) for file in installed.run([installed.python, "-c", program], tmp_path).split()]
    assert len(files) > 1
    assert all(file.is_file() and file.is_relative_to(installed.folder) for file in files)
