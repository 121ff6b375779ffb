"""The release checklist names commands and files that there are."""

import re

from tests.distribution.conftest import ROOT

PAGE = (ROOT / "docs" / "release.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"`([^`\n]+)`", PAGE)


def test_every_make_command_of_the_checklist_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = {words.removeprefix("make ") for words in QUOTED if words.startswith("make ")}
    assert {"check", "test", "test-lowest", "release-check"} <= named
    assert named <= targets


def test_every_file_of_the_checklist_exists() -> None:
    named = {words for words in QUOTED if re.fullmatch(r"[\w/-]+\.(py|md|toml|cff)", words)}
    assert {"partialot/__init__.py", "CITATION.cff", "CHANGELOG.md", "pyproject.toml"} <= named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
