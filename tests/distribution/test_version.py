"""The version stands in one place, and what repeats it is in step."""

import re
import tomllib
import zipfile
from itertools import pairwise
from pathlib import Path

import yaml
from packaging.version import Version

import partialot
from tests.distribution.conftest import ROOT

_HEADING = re.compile(r"^## \[(?P<name>[^]]+)](?: - (?P<date>\d{4}-\d\d-\d\d))?$", flags=re.MULTILINE)


def list_headings() -> list[tuple[str, str | None]]:
    """Give name and date of every version of the changelog, in order."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return [(match["name"], match["date"]) for match in _HEADING.finditer(text)]


def test_the_wheel_is_of_the_version_that_the_package_names(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        assert f"\nVersion: {partialot.__version__}\n" in archive.read(name).decode()


def test_the_build_reads_the_version_and_does_not_repeat_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "version" not in project
    assert project["dynamic"] == ["version"]


def test_the_citation_is_of_the_same_version_and_licence() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == partialot.__version__
    assert citation["license"] == project["license"]


def test_the_changelog_begins_with_what_is_not_released() -> None:
    assert list_headings()[0] == ("Unreleased", None)


def test_released_versions_are_dated_and_descend() -> None:
    released = list_headings()[1:]
    assert all(date is not None for _, date in released)
    assert all(Version(newer) > Version(older) for (newer, _), (older, _) in pairwise(released))


def test_the_package_is_not_behind_the_changelog() -> None:
    assert all(Version(name) <= Version(partialot.__version__) for name, _ in list_headings()[1:])
