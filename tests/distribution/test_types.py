"""A type checker sees the types of the installed wheel, which it does for packages with `py.typed` alone."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
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


def check_types(installed: Environment, folder: Path) -> list[dict[str, Any]]:
    """Give what the checker says of the program."""
    pytest.importorskip("basedpyright", reason="installed by the extra dev")
    (folder / "program.py").write_text(PROGRAM)
    (folder / "pyrightconfig.json").write_text(json.dumps(SETTINGS))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", installed.python, "--project", "."]
    # It has an error to find.
    return json.loads(installed.run(command, folder, check=False))["generalDiagnostics"]


def list_shown(found: list[dict[str, Any]]) -> list[str]:
    return [one["message"] for one in found if one["severity"] == "information"]


@pytest.fixture(scope="module")
def found(installed: Environment, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return check_types(installed, tmp_path_factory.mktemp("typed"))


@pytest.fixture
def unmarked(installed: Environment) -> Iterator[Environment]:
    """The installed wheel, for the time being without `py.typed`."""
    marks = list(installed.folder.glob("lib/python*/site-packages/*/py.typed"))
    assert len(marks) == 2
    for mark in marks:
        mark.rename(mark.with_suffix(".away"))
    yield installed
    for mark in marks:
        mark.with_suffix(".away").rename(mark)


def test_a_type_checker_sees_the_public_types(found: list[dict[str, Any]]) -> None:
    plan, from_checkpoint = list_shown(found)
    assert 'is "Tensor"' in plan
    assert "-> Segmenter" in from_checkpoint


def test_a_type_checker_refuses_the_wrong_type(found: list[dict[str, Any]]) -> None:
    (error,) = (one for one in found if one["severity"] == "error")
    assert '"Solution" is not assignable to "int"' in error["message"]


def test_without_the_mark_a_type_checker_would_see_nothing(unmarked: Environment, tmp_path: Path) -> None:
    found = check_types(unmarked, tmp_path)
    assert ['is "Unknown"' in shown for shown in list_shown(found)] == [True, True]
    assert not [one for one in found if one["severity"] == "error"]
