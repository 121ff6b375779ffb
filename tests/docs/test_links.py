"""Every relative link of a page leads to a file, and every path of this repository that it names is there."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT

LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)#\s]+)")
ANCHOR = re.compile(r"\]\(([^)\s]*\.md)?#([^)\s]+)\)")
NAMED = re.compile(r"`((?:benchmarks|docs|fewshot|partialot|tests)/[\w./-]*)")


def list_anchors(page: Path) -> set[str]:
    """Name the headings of a page as links do: in small letters, words joined by hyphens."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_to_files(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_headings_lead_to_headings(page: Path) -> None:
    links = ANCHOR.findall(page.read_text(encoding="utf-8"))
    assert [
        (name, place) for name, place in links if place not in list_anchors(page.parent / (name or page.name))
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_that_are_named_are_there(page: Path) -> None:
    assert [name for name in NAMED.findall(page.read_text(encoding="utf-8")) if not (ROOT / name).exists()] == []


def test_the_pages_were_found() -> None:
    assert ROOT / "README.md" in PAGES
