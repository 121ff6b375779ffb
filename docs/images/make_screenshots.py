"""Photograph the page of `fewshot serve` for docs/try_it.md.

Run as `python -m docs.images.make_screenshots` from the root of the repository, after `fewshot demo`; needs Chromium.
"""

import sys
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import expect

from fewshot.demo import WEIGHTS
from tests.fewshot.page.browser import find_chromium, open_browser, serve, slide

HERE = Path(__file__).parent
DEMO = Path("runs/demo").resolve()
PATIENCE = 120_000
"""Milliseconds: a figure can wait."""
QUALITY = 80
"""Of WebP, in per cent: small letters stay sharp."""


def photograph_page(address: str, chromium: str, folder: Path) -> None:
    """Ask the page about the example of the demonstration, then with three times the mass."""
    expect.set_options(timeout=PATIENCE)
    with open_browser(folder, chromium) as browser:
        page = browser.new_page()
        page.goto(address)
        page.get_by_role("button", name="Load an example").click()
        for name, place in (("try_it", None), ("try_it_more_mass", 1.0)):
            if place is not None:
                slide(page, place)
            expect(page.get_by_test_id("overlay")).to_be_visible()
            expect(page.get_by_test_id("busy")).to_be_hidden()
            with Image.open(BytesIO(page.screenshot(full_page=True))) as picture:
                picture.convert("RGB").save(HERE / f"{name}.webp", quality=QUALITY)


def main() -> None:
    """Start the page, photograph it, and stop it."""
    chromium = find_chromium()
    if chromium is None:
        sys.exit("A Chromium or Chrome must be on this machine. Found none. Run `make browser`.")
    with TemporaryDirectory() as profile, serve(DEMO / WEIGHTS, DEMO) as address:
        photograph_page(address, chromium, Path(profile))


if __name__ == "__main__":
    main()
