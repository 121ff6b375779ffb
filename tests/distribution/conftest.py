"""The wheel and the source archive, built from the working tree, and an environment with the wheel."""

import contextlib
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import hatchling.build
import pytest

ROOT = Path(__file__).parents[2]


def build(source: Path, target: Path) -> Path:
    """Build a wheel by the backend's hook, as pip does, but without an environment of its own from a package index."""
    with contextlib.chdir(source):
        return target / hatchling.build.build_wheel(str(target))


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def source_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    with contextlib.chdir(ROOT):
        return folder / hatchling.build.build_sdist(str(folder))


@dataclass(frozen=True)
class Environment:
    """A virtual environment with the wheel alone, which borrows what it needs from the environment of the tests."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def run(self, command: Sequence[str | Path], folder: Path, *, check: bool = True, **variables: str) -> str:
        """Give what a command prints in a folder that is not the source tree, which PYTHONPATH may name."""
        ours = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(command, env=ours | variables, cwd=folder, check=check, capture_output=True, text=True)
        return done.stdout


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("environment"))
    venv.create(environment.folder, symlinks=True)
    (packages,) = environment.folder.glob("lib/python*/site-packages")
    # The folder alone: what its own .pth files add, such as the source tree, stays outside.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--python", environment.python]
    offline = ["--no-index", "--no-deps", "--quiet", "--disable-pip-version-check"]
    # Our own would be found there, and left.
    subprocess.run([*pip, "install", "--ignore-installed", *offline, wheel], check=True)
    return environment
