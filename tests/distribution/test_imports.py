"""What an import loads, in a fresh interpreter: nothing that only some calls need.

How long it takes is measured by `benchmarks/bench_import.py`.
"""

import subprocess
import sys

import pytest

LIST = "print(*sorted(sys.modules), sep='\\n', file=sys.stderr)"


def loaded_by(program: str) -> set[str]:
    """Give the modules that a program leaves loaded."""
    command = [sys.executable, "-c", f"import sys\n{program}\n{LIST}"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stderr.split())


def packages_of(modules: set[str]) -> set[str]:
    """Give the packages among modules that are not Python's own."""
    return {name.partition(".")[0] for name in modules} - sys.stdlib_module_names - {"__main__"}


@pytest.fixture(scope="module")
def loaded_by_torch() -> set[str]:
    return loaded_by("import torch")


def test_partialot_loads_itself_and_jaxtyping_beyond_what_torch_loads(loaded_by_torch: set[str]) -> None:
    beyond = loaded_by("import partialot") - loaded_by_torch
    assert "partialot.solvers.network_simplex" in beyond
    assert packages_of(beyond) <= {"partialot", "jaxtyping", "numpy"}
    assert {name for name in beyond if name.startswith("numpy")} <= {"numpy.typing", "numpy._typing._add_docstring"}


def test_fewshot_loads_nothing() -> None:
    assert packages_of(loaded_by("import fewshot") - loaded_by("pass")) == {"fewshot"}


def listing(words: str) -> str:
    """A program that shows the help of the command line, and goes on."""
    return (
        f"import contextlib, fewshot.cli\nwith contextlib.suppress(SystemExit):\n    fewshot.cli.main({words.split()})"
    )


def test_the_list_of_commands_loads_neither_pytorch_nor_lightning() -> None:
    assert not packages_of(loaded_by(listing("--help"))) & {"torch", "lightning", "numpy", "partialot", "matplotlib"}


def test_only_commands_that_train_load_lightning() -> None:
    loaded = loaded_by(listing("predict --help"))
    assert "torch" in loaded
    assert "lightning" not in loaded
