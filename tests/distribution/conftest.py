"""The wheel and the source archive, built from the working tree, and the wheel installed where nothing else is."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping
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


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and nothing else; what it depends on is that of the tests."""
    folder = tmp_path_factory.mktemp("installed")
    offline = ["--no-index", "--no-deps", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *offline, "--target", folder, wheel], check=True)
    return folder


@pytest.fixture
def environment(installed: Path, tmp_path: Path) -> Mapping[str, str]:
    """Variables under which a new interpreter finds the installed wheel first, and no kernels built before."""
    return {**os.environ, "PYTHONPATH": str(installed), "XDG_CACHE_HOME": str(tmp_path / "cache")}
