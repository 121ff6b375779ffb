"""The page in a real browser: the Chromium of the machine, and the command that serves the page."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, sync_playwright

ROOT = Path(__file__).parents[3]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""The browser asks nothing of anybody by itself, and runs where there is neither a GPU nor a sandbox, as for root."""
WINDOW = (1280, 900)


def find_chromium() -> str | None:
    """Find the browser of the machine, under the names that distributions give it."""
    return next((path for name in NAMES if (path := shutil.which(name)) is not None), None)


@contextmanager
def open_browser(profile: Path, chromium: str) -> Iterator[BrowserContext]:
    """Start a browser that has never been used."""
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=chromium,
            headless=True,
            args=list(QUIET),
            viewport={"width": WINDOW[0], "height": WINDOW[1]},
        )
        yield context
        context.close()


@contextmanager
def serve(checkpoint: Path, folder: Path) -> Iterator[str]:
    """Run `fewshot serve` in a folder, and give the address of its page as soon as it is there."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["-m", "fewshot", "serve", f"--checkpoint={checkpoint}", f"--port={port}", "--device=cpu"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, *words], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        said: list[str] = []
        try:
            for line in server.stderr:
                said.append(line)
                if line.startswith("The page is at "):
                    yield f"http://127.0.0.1:{port}"
                    break
            else:
                raise AssertionError(f"The server ended before the page was there: {''.join(said)}")
        finally:
            server.terminate()


def upload(page: Page, field: str, file: Path) -> None:
    """Give a photograph to one of the two fields, `examples` or `query`."""
    page.get_by_test_id(field).locator("input[type=file]").set_input_files(file)


def drag(page: Page, start: tuple[float, float], end: tuple[float, float], *, example: int = 0) -> None:
    """Drag the mouse over an example, from one place to another in shares of its width and height."""
    picture = page.get_by_test_id("canvas").nth(example).locator("img")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=4)
    page.mouse.up()


def slide(page: Page, place: float) -> None:
    """Click on the slider of the mass, in shares of its length."""
    box = page.get_by_test_id("mass").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + max(1, place * box["width"] - 1), box["y"] + box["height"] / 2)
