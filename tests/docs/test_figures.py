"""Every picture of docs/images is drawn by a program, and shown on a page."""

import importlib

import pytest
from matplotlib.figure import Figure

from tests.docs.pages import PAGES, ROOT

IMAGES = ROOT / "docs" / "images"
DRAWN = sorted(path.stem for path in IMAGES.glob("*.png"))


@pytest.mark.parametrize("name", DRAWN)
def test_every_picture_is_drawn_by_a_program(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(IMAGES))
    assert isinstance(importlib.import_module("make_figures").FIGURES[name](), Figure)


@pytest.mark.parametrize("name", DRAWN)
def test_every_picture_is_shown(name: str) -> None:
    assert any(f"images/{name}.png)" in page.read_text(encoding="utf-8") for page in PAGES)
