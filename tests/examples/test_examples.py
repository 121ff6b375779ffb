"""Every example runs, draws its picture and stands in the gallery as it is."""

import ast
import importlib.util
import re
import runpy
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
SPECIFICATION = importlib.util.spec_from_file_location("make_gallery", ROOT / "docs" / "images" / "make_gallery.py")
assert SPECIFICATION is not None
assert SPECIFICATION.loader is not None
GALLERY = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(GALLERY)

SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
PAGES = ROOT / "docs" / "gallery"
PRINTED = re.compile(r"```text\n(.*?)```\n\n", flags=re.DOTALL)
MOST_LINES = 120
LARGEST_PICTURE = 120_000
"""Bytes; a page with its picture should open at once."""

each_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def page_of(script: Path) -> str:
    return read(PAGES / f"{script.stem}.md")


def without_numbers(printed: str) -> str:
    """Leave the words: another machine rounds otherwise, and columns shift with it."""
    return re.sub(r"\s+", " ", re.sub(r"[-+]?\d[\d.,]*(e[-+]?\d+)?", "#", printed))


@each_script
def test_an_example_runs_and_draws_and_prints_what_its_page_says(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script), run_name="__main__")
    pictures = GALLERY.find_pictures(read(script))
    assert len(pictures) in (1, 2)
    assert {path.name for path in tmp_path.iterdir()} == set(pictures)
    printed = capsys.readouterr().out
    assert printed
    assert without_numbers(printed) == without_numbers("".join(PRINTED.findall(page_of(script))))


@each_script
def test_text_and_code_of_a_page_are_those_of_its_script(script: Path) -> None:
    text = read(script)
    silent = [""] * len(GALLERY.read_cells(text))
    assert PRINTED.sub("", page_of(script)) == GALLERY.write_page(script.stem, text, silent)


@each_script
def test_pictures_of_a_page_are_there_and_small(script: Path) -> None:
    for name in GALLERY.find_pictures(read(script)):
        path = PAGES / "images" / name
        assert path.stat().st_size < LARGEST_PICTURE
        with Image.open(path) as picture:
            assert picture.height > 200


@each_script
def test_an_example_is_short(script: Path) -> None:
    assert len(read(script).splitlines()) <= MOST_LINES


@each_script
def test_an_example_imports_public_names_only(script: Path) -> None:
    nodes = list(ast.walk(ast.parse(read(script))))
    modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    modules |= {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    ours = {module for module in modules if module.partition(".")[0] in ("partialot", "fewshot")}
    assert ours
    assert ours <= {"partialot", "partialot.nn"}


def test_the_index_is_that_of_the_scripts() -> None:
    assert sorted(GALLERY.ORDER) == [script.stem for script in SCRIPTS]
    assert read(PAGES / "index.md") == GALLERY.write_index()


def test_what_a_page_prints_is_told_from_its_code() -> None:
    script = '# %% [markdown]\n# # Title\n#\n# Sentence.\n\n# %%\nprint(1)\n\n# %%\nfigure.savefig("a.png")\n'
    page = GALLERY.write_page("a", script, ["1\n", ""])
    assert PRINTED.findall(page) == ["1\n"]
    assert "```\n\n![Title](images/a.png)\n\n" in page
    assert GALLERY.summarise(script) == ("Title", "Sentence.")
