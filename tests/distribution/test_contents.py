"""What is given away: the wheel has what runs, the source archive has what the wheel is made of."""

import email
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

import pytest

import partialot
from tests.distribution.conftest import ROOT, build


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def test_the_wheel_has_both_packages_whole_and_nothing_else(wheel: Path) -> None:
    packages = ("partialot", "fewshot")
    there = {
        path.relative_to(ROOT).as_posix()
        for package in packages
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names_in(wheel) if ".dist-info/" not in name} == there


@pytest.mark.parametrize(
    "name",
    [
        "partialot/py.typed",
        "fewshot/py.typed",
        "partialot/kernels/native/sweep.cpp",
        "partialot/kernels/native/numbers.hpp",
        "partialot/kernels/native/stretch.cpp",
        "fewshot/configs/rows/cmnet.yaml",
        "fewshot/reporting/templates/report.html",
        f"partialot-{partialot.__version__}.dist-info/licenses/LICENSE",
        f"partialot-{partialot.__version__}.dist-info/entry_points.txt",
    ],
)
def test_the_wheel_has_what_is_no_python_and_needed(name: str, wheel: Path) -> None:
    assert name in names_in(wheel)


def test_the_source_archive_makes_the_same_wheel(wheel: Path, source_archive: Path, tmp_path: Path) -> None:
    with tarfile.open(source_archive) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    again = build(folder, tmp_path)
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert {info.filename: info.CRC for info in first.infolist()} == {
            info.filename: info.CRC for info in second.infolist()
        }


def test_the_source_archive_has_no_environment_and_no_results_of_runs(source_archive: Path) -> None:
    with tarfile.open(source_archive) as archive:
        tops = {Path(name).parts[1] for name in archive.getnames() if len(Path(name).parts) > 1}
    assert {"partialot", "fewshot", "tests", "docs", "LICENSE", "CHANGELOG.md"} <= tops
    assert not tops & {".venv", ".git", "runs", "site", ".cache", "dist"}


def test_every_extra_can_be_asked_for(metadata: Message) -> None:
    asked = {"fewshot", "page", "tensorboard", "test", "dev", "bench", "docs", "peers", "triton"}
    assert set(metadata.get_all("Provides-Extra", [])) == asked
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {line.split(">=")[0] for line in needed} == {"jaxtyping", "numpy", "pot", "scipy", "torch"}


def test_every_dependency_has_a_lower_bound(metadata: Message) -> None:
    assert [line for line in metadata.get_all("Requires-Dist", []) if ">=" not in line and "==" not in line] == []


def test_the_description_is_the_readme(metadata: Message) -> None:
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload(decode=True) == (ROOT / "README.md").read_bytes()
