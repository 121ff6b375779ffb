"""The site builds without a warning, asks nothing of the network, and knows every page."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

pytest.importorskip("material", reason="the site is built by the packages of the extra `docs`")

LOADED = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//[^\"'\s>]+)")
OWN = re.compile(r"<(?:script|link|img)\b[^>]*?\b(?:src|href)=[\"']?(?!https?:|//)([^\"'\s>#?]+)")
FETCHED = re.compile(r"(?:url\(|@import\s+)[\"']?((?:https?:)?//[^\"')]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it; every page that is in no menu, every broken link or heading is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.stdout + built.stderr == ""
    assert built.returncode == 0
    return folder


def test_every_page_of_the_repository_is_built(site: Path) -> None:
    pages = [page.relative_to(ROOT / "docs").with_suffix(".html") for page in ROOT.glob("docs/**/*.md")]
    assert [page for page in pages if not (site / page).is_file()] == []


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    texts = [path.read_text(encoding="utf-8") for path in site.rglob("*") if path.suffix in (".html", ".css")]
    assert len(texts) > 20
    assert [address for text in texts for address in LOADED.findall(text) + FETCHED.findall(text)] == []


def test_everything_that_is_loaded_is_there(site: Path) -> None:
    for page in site.rglob("*.html"):
        here = [name for name in OWN.findall(page.read_text(encoding="utf-8")) if not name.startswith("data:")]
        assert len(here) > 3
        assert [name for name in here if page.name != "404.html" and not (page.parent / name).exists()] == []


@pytest.mark.parametrize("words", ["partialot.solve", "dustbin", "Message flow, eq. 6 to 8"])
def test_the_search_knows_the_pages(site: Path, words: str) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    assert any(words in entry["title"] + entry["text"] for entry in index["docs"])


def test_programs_of_the_site_itself_are_no_part_of_it(site: Path) -> None:
    assert list(site.rglob("*.py")) == []
