"""The page of hard cases names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
CATALOGUE = PAGE.partition("## The catalogue of hard cases")[2]
NAMED = sorted(set(re.findall(r"`(test_\w+)`", CATALOGUE)))
TEXTS = [file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py")]
WRITTEN = {name for text in TEXTS for name in re.findall(r"def (test_\w+)", text)}


def test_every_row_of_the_catalogue_names_a_test() -> None:
    rows = [line for line in CATALOGUE.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 40
    assert all("`test_" in row or "timeout" in row for row in rows)


def test_every_test_that_the_catalogue_names_is_written() -> None:
    assert [name for name in NAMED if name not in WRITTEN] == []
