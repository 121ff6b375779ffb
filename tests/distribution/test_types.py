"""A type checker sees the types of the installed wheel, which it does for packages with `py.typed` alone."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.distribution.conftest import Environment

PROGRAM = """\
import torch
import fewshot
import partialot

reveal_type(partialot.solve(torch.eye(3), reg=0.1).plan)
reveal_type(fewshot.Segmenter.from_checkpoint)
wrong: int = partialot.solve(torch.eye(3))
"""
SETTINGS = {"useLibraryCodeForTypes": False, "typeCheckingMode": "basic"}
"""Types are not guessed from the code of packages that do not say they are typed."""


@pytest.fixture(scope="module")
def found(installed: Environment, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the checker says of the program."""
    pytest.importorskip("basedpyright", reason="installed by the extra dev")
    folder = tmp_path_factory.mktemp("typed")
    (folder / "program.py").write_text(PROGRAM)
    (folder / "pyrightconfig.json").write_text(json.dumps(SETTINGS))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", installed.python, "--project", "."]
    checked = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return json.loads(checked.stdout)["generalDiagnostics"]


def test_a_type_checker_sees_the_public_types(found: list[dict[str, Any]]) -> None:
    shown = [one["message"] for one in found if one["severity"] == "information"]
    assert len(shown) == 2
    assert 'is "Tensor"' in shown[0]
    assert "-> Segmenter" in shown[1]


def test_a_type_checker_refuses_the_wrong_type(found: list[dict[str, Any]]) -> None:
    (error,) = (one for one in found if one["severity"] == "error")
    assert '"Solution" is not assignable to "int"' in error["message"]
