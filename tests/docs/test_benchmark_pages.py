"""Pages, pictures and the README's table of the benchmarks are those of benchmarks/results."""

from pathlib import Path

import make_page
import pytest
from pages import plots

from tests.docs.pages import ROOT

FILES = {part.file for _, parts in make_page.PAGES.values() for part in parts}


@pytest.mark.parametrize("page", make_page.PAGES)
def test_pages_are_written_from_the_results(page: str) -> None:
    assert make_page.write(page) == (ROOT / "docs" / page).read_text(encoding="utf-8")


def test_the_table_of_the_readme_is_filled_from_the_results() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert make_page.headline.BLOCK.search(readme)
    assert make_page.fill_readme(readme) == readme


def test_every_file_of_results_is_shown() -> None:
    assert {path.stem for path in make_page.RESULTS.glob("*.json")} <= FILES


def test_results_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(make_page, "RESULTS", tmp_path)
    assert "- `python benchmarks/bench_scaling.py`" in make_page.write("benchmarks.md")


def test_pictures_are_drawn_from_the_curves_that_are_kept() -> None:
    curves = make_page.RESULTS / "scaling.json"
    pictures = [ROOT / "docs" / "images" / f"{name}.svg" for name in ("scaling", "solve_time")]
    kept = [plots.digest(curves)] if curves.exists() else []
    assert [file.exists() for file in pictures] == [curves.exists()] * 2
    assert all(digest in file.read_text(encoding="utf-8") for digest in kept for file in pictures)
