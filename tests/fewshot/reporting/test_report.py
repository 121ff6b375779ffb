import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from PIL import Image

from fewshot.reporting.report import (
    Figure,
    Listing,
    Paragraph,
    Report,
    Section,
    Table,
    format_cell,
    render_report,
    write_report,
)
from fewshot.visualisation import encode_picture

NASTY = """<script>alert('"&amp;{{ 7 * 7 }}{% raw %}')</script>"""


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def picture() -> bytes:
    return encode_picture(torch.randint(0, 256, (30, 45, 3), dtype=torch.uint8))


@pytest.fixture
def report(picture: bytes) -> Report:
    """A report with everything that a report may have, all of it nasty."""
    table = Table((NASTY, "score"), ((NASTY, 1.25), ("none", None)), caption=NASTY)
    parts = (Paragraph(NASTY), table, Figure(picture, NASTY, NASTY), Listing(NASTY))
    return Report(NASTY, NASTY, (Section(NASTY, parts), Section("more", parts, folded=True), Section("last", ())))


def test_whatever_is_said_is_text_and_never_markup(report: Report) -> None:
    page = Page(render_report(report))
    assert "script" not in page.tags
    # Title twice, summary, and in two sections paragraph, heading, two cells, two captions and a listing.
    assert page.text.count(NASTY) >= 2 + 1 + 2 * 6
    assert page.attributes.count(("alt", NASTY)) == 2


def test_nothing_is_fetched_from_anywhere(report: Report) -> None:
    page = Page(render_report(report))
    addresses = [value for name, value in page.attributes if name in ("src", "href", "srcset", "action", "data")]
    assert addresses
    assert all(re.match(r"data:|#section-\d+$", address or "") for address in addresses)
    assert not {"script", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    style = re.search(r"<style>(.*?)</style>", render_report(report), re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    policy = [value for name, value in page.attributes if name == "content" and value and "default-src" in value]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_pictures_are_inside_whole(report: Report, picture: bytes) -> None:
    sources = [value for name, value in Page(render_report(report)).attributes if name == "src"]
    assert len(sources) == 2
    for source in sources:
        assert source is not None
        assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == picture


def test_links_lead_to_sections_that_are_there(report: Report) -> None:
    attributes = Page(render_report(report)).attributes
    targets = {f"#{value}" for name, value in attributes if name == "id"}
    links = [value for name, value in attributes if name == "href" and value and value.startswith("#")]
    assert links == ["#section-1", "#section-2", "#section-3"]
    assert set(links) <= targets


def test_every_tag_that_opens_closes(report: Report) -> None:
    page = render_report(report)
    for tag in ("section", "details", "summary", "table", "tr", "td", "th", "figure", "div", "pre", "p", "nav"):
        assert len(re.findall(rf"<{tag}[ >]", page)) == page.count(f"</{tag}>") > 0, tag


def test_folded_sections_are_closed_until_opened(report: Report) -> None:
    assert Page(render_report(report)).tags.count("details") == 1


def test_a_page_adapts_to_dark_and_to_narrow_screens(report: Report) -> None:
    page = render_report(report)
    assert "prefers-color-scheme: dark" in page
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page


@pytest.mark.parametrize(
    ("cell", "printed"), [(None, "–"), (3, "3"), (3.14, "3.1"), (0.0, "0.0"), ("47.2 ± 1.0", "47.2 ± 1.0")]
)
def test_cells_print_one_decimal(cell: float | str | None, printed: str) -> None:
    assert format_cell(cell) == printed


def test_numbers_are_set_to_the_right_and_names_to_the_left() -> None:
    table = Table(("network", "mIoU"), (("partial", 47.25), ("none", None)))
    page = render_report(Report("Scores", "", (Section("Scores", (table,)),)))
    assert '<tr><td class="text">partial</td><td>47.2</td></tr>' in page
    assert '<tr><td class="text">none</td><td>–</td></tr>' in page
    assert '<th class="text">network</th><th>mIoU</th>' in page


def test_a_row_with_too_few_cells_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Found 1 in \('partial',\)\. Put None where there is nothing to say"):
        Table(("network", "mIoU"), (("partial",),))


def test_figures_are_shown_smaller_than_they_are(picture: bytes) -> None:
    with Image.open(io.BytesIO(picture)) as opened:
        assert Figure(picture, "noise").width == pytest.approx(opened.width / 1.5, abs=0.5)


def test_a_report_is_one_file(report: Report, tmp_path: Path) -> None:
    write_report(report, tmp_path / "run" / "report.html")
    (written,) = (tmp_path / "run").iterdir()
    assert written.read_text(encoding="utf-8") == render_report(report)


def test_an_interruption_leaves_the_last_report_as_it_was(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    write_report(report, path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(KeyboardInterrupt):
        write_report(Report("Other", "", ()), path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]
