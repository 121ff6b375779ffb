"""The page as its visitors have it: the real command, the Chromium of the machine, a mouse."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

from fewshot.page.photograph import MAX_BYTES
from tests.fewshot.page.browser import drag, find_chromium, open_browser, serve, slide, upload

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium or Chrome on the machine; `make browser` installs Debian's"
)
PATIENCE = 30_000
"""Milliseconds for an answer, of a network that takes a fraction of a second where nothing else runs."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server runs."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def address(checkpoint: Path, folder: Path) -> Iterator[str]:
    with serve(checkpoint, folder) as url:
        yield url


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    assert CHROMIUM is not None
    with open_browser(tmp_path_factory.mktemp("profile"), CHROMIUM) as context:
        context.set_default_timeout(PATIENCE)
        yield context


@pytest.fixture
def asked() -> list[str]:
    """Everything that the page asked for."""
    return []


@pytest.fixture
def page(browser: BrowserContext, address: str, asked: list[str]) -> Iterator[Page]:
    expect.set_options(timeout=PATIENCE)
    page = browser.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.goto(address)
    yield page
    page.close()


def ask(page: Page, support: Path, query: Path) -> None:
    """Upload two photographs, draw a box on the first, and wait for the answer."""
    upload(page, "examples", support)
    upload(page, "query", query)
    expect(page.get_by_test_id("query-picture")).to_be_visible()
    drag(page, (0.2, 0.2), (0.7, 0.7))
    expect(page.get_by_test_id("overlay")).to_be_visible()
    expect(page.get_by_test_id("busy")).to_be_hidden()


def see(page: Page, name: str) -> str:
    """Give the picture that is shown under a name."""
    return page.get_by_test_id(name).locator("img").get_attribute("src") or ""


def test_a_box_on_a_photograph_is_answered_with_a_mask_maps_and_lines(
    page: Page, support: Path, query: Path, tmp_path: Path
) -> None:
    expect(page.get_by_test_id("hint")).to_contain_text("Drop a photograph of the thing on the left")
    ask(page, support, query)
    expect(page.get_by_test_id("summary")).to_contain_text(re.compile(r"The object takes \d+\.\d% of the photograph"))
    for name in ("transport", "prior", "matching"):
        expect(page.get_by_test_id(name)).to_be_visible()
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    with Image.open(tmp_path / "page.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10


def test_moving_the_slider_moves_another_mass_and_changes_the_map(page: Page, support: Path, query: Path) -> None:
    ask(page, support, query)
    before, summary = see(page, "transport"), page.get_by_test_id("summary").inner_text()
    page.get_by_test_id("mass").locator("[tabindex]").press("ArrowRight")
    expect(page.get_by_test_id("mass-text")).to_have_text("1.05 × the object’s size in the example")
    slide(page, 1.0)
    expect(page.get_by_test_id("mass-text")).to_contain_text("3.00 ×")
    expect(page.get_by_test_id("summary")).not_to_have_text(summary)
    expect(page.get_by_test_id("busy")).to_be_hidden()
    assert see(page, "transport") != before
    page.get_by_role("button", name="as trained").click()
    expect(page.get_by_test_id("summary")).to_have_text(summary)
    assert see(page, "transport") == before


def test_a_mask_is_brushed_erased_taken_back_and_cleared(page: Page, support: Path) -> None:
    upload(page, "examples", support)
    expect(page.get_by_test_id("canvas")).to_be_visible()
    layer = page.get_by_test_id("canvas").locator("image")
    empty = layer.get_attribute("href") or ""
    hint = page.get_by_test_id("hint")
    page.get_by_role("button", name="Brush").click()
    drag(page, (0.3, 0.5), (0.7, 0.5))
    expect(hint).to_contain_text("Drop the photograph to search")
    brushed = layer.get_attribute("href") or ""
    assert brushed != empty
    page.get_by_role("button", name="Eraser").click()
    drag(page, (0.5, 0.2), (0.5, 0.9))
    expect(layer).not_to_have_attribute("href", brushed)
    page.get_by_role("button", name="Undo").click()
    expect(layer).to_have_attribute("href", brushed)
    page.get_by_role("button", name="Clear").click()
    expect(layer).to_have_attribute("href", empty)
    expect(hint).to_contain_text("Draw a box around the thing")


def test_a_box_that_leaves_the_photograph_ends_at_its_border(page: Page, support: Path) -> None:
    upload(page, "examples", support)
    expect(page.get_by_test_id("canvas")).to_be_visible()
    drag(page, (0.5, 0.5), (1.1, 0.8))
    expect(page.get_by_test_id("hint")).to_contain_text("Drop the photograph to search")


def test_a_second_example_changes_the_answer_and_can_be_removed(page: Page, support: Path, query: Path) -> None:
    ask(page, support, query)
    alone = see(page, "matching")
    upload(page, "examples", query)
    expect(page.get_by_test_id("canvas")).to_have_count(2)
    drag(page, (0.1, 0.1), (0.9, 0.5), example=1)
    expect(page.get_by_test_id("matching").locator("img")).not_to_have_attribute("src", alone)
    page.get_by_role("button", name="Remove").last.click()
    expect(page.get_by_test_id("canvas")).to_have_count(1)
    expect(page.get_by_test_id("matching").locator("img")).to_have_attribute("src", alone)


def test_the_mask_is_saved_at_the_size_of_the_photograph(
    page: Page, support: Path, query: Path, tmp_path: Path
) -> None:
    ask(page, support, query)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save mask").click()
    assert download.value.suggested_filename == "08_mask.png"
    download.value.save_as(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as mask, Image.open(query) as photograph:
        assert mask.size == photograph.size
        assert set(np.unique(np.asarray(mask))) == {0, 255}


def test_what_cannot_be_used_is_refused_with_the_reason_until_something_can(
    page: Page, support: Path, tmp_path: Path
) -> None:
    alert = page.get_by_role("alert")
    (tmp_path / "huge.jpg").write_bytes(bytes(MAX_BYTES + 1_000_000))
    (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")
    (tmp_path / "broken.png").write_bytes(support.read_bytes()[:200])
    upload(page, "examples", tmp_path / "huge.jpg")
    expect(alert).to_contain_text("at most 20 MB. Found 21.0 MB in huge.jpg. Scale it down, or save it as JPEG.")
    upload(page, "examples", tmp_path / "notes.txt")
    expect(alert).to_contain_text("Found something else in notes.txt. Convert it first.")
    upload(page, "query", tmp_path / "broken.png")
    expect(alert).to_contain_text("Found broken.png cut short or damaged")
    upload(page, "examples", support)
    expect(page.get_by_test_id("canvas")).to_be_visible()
    expect(alert).to_be_hidden()


def test_visitors_do_not_see_each_other_s_photographs(page: Page, browser: BrowserContext, address: str) -> None:
    upload(page, "examples", Path(__file__).parents[3] / "docs" / "images" / "partial_transport.png")
    expect(page.get_by_test_id("canvas")).to_be_visible()
    other = browser.new_page()
    other.goto(address)
    expect(other.get_by_test_id("hint")).to_be_visible()
    expect(other.get_by_test_id("canvas")).to_have_count(0)
    other.close()


def test_nothing_is_asked_of_another_machine_and_nothing_is_kept(
    page: Page, support: Path, query: Path, asked: list[str], address: str, folder: Path
) -> None:
    ask(page, support, query)
    assert any(url.startswith("ws:") for url in asked)
    elsewhere = [url for url in asked if urlsplit(url).scheme not in ("data", "blob")]
    assert {urlsplit(url).netloc for url in elsewhere} == {urlsplit(address).netloc}
    assert list(folder.iterdir()) == []
