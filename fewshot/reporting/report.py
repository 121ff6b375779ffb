"""A report as one file: a page with its pictures inside, which asks nothing of the network."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from fewshot.data.storage import write_whole
from fewshot.visualisation import PIXELS_PER_INCH

Cell = str | int | float | None
"""Of a table. Floats are printed with one decimal, None as a dash."""

_SCREEN_PIXELS_PER_INCH = 100
"""At which pictures are shown: fewer than they have, so that they stay sharp on dense screens."""


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of text.

    Attributes:
        text: As it is; no markup.
    """

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        columns: Their titles.
        rows: Each with a cell for every column.
        caption: What the numbers are.
        text_columns: How many of the first columns hold text, set to the left; the others are set to the right.
    """

    kind: ClassVar[str] = "table"
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    text_columns: int = 1

    def __post_init__(self) -> None:
        """Refuse rows that would slip under the wrong titles."""
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"Every row must have a cell for each of the {len(self.columns)} columns. Found {len(row)} in "
                    f"{row}. Put None where there is nothing to say."
                )


@dataclass(frozen=True)
class Figure:
    """A picture.

    Attributes:
        content: The bytes of a PNG file.
        description: What it shows, for readers who do not see it.
        caption: What is printed below.
    """

    kind: ClassVar[str] = "figure"
    content: bytes
    description: str
    caption: str = ""

    @property
    def source(self) -> str:
        """Give the picture as an address that holds it whole."""
        return f"data:image/png;base64,{base64.b64encode(self.content).decode('ascii')}"

    @property
    def width(self) -> int:
        """Say how wide it is shown where there is room, in the units of a page."""
        with Image.open(io.BytesIO(self.content), formats=("PNG",)) as picture:
            return round(picture.width * _SCREEN_PIXELS_PER_INCH / PIXELS_PER_INCH)


@dataclass(frozen=True)
class Listing:
    """Text whose spaces and line ends matter: a command, a configuration.

    Attributes:
        text: As it is.
    """

    kind: ClassVar[str] = "listing"
    text: str


Part = Paragraph | Table | Figure | Listing


@dataclass(frozen=True)
class Section:
    """A part of a report under a heading of its own.

    Attributes:
        title: The heading.
        parts: What stands below it, in order.
        folded: Show the heading only, until the reader opens it.
    """

    title: str
    parts: tuple[Part, ...]
    folded: bool = False


@dataclass(frozen=True)
class Report:
    """What there is to say about a run, whatever was run.

    Attributes:
        title: Of the page.
        summary: The first lines: what was done and what came of it.
        sections: Everything else.
    """

    title: str
    summary: str
    sections: tuple[Section, ...]


def render_report(report: Report) -> str:
    """Make the page. Whatever the report says is text; none of it can become markup."""
    # StrictUndefined: a name that is misspelt in the template fails instead of printing nothing.
    environment = Environment(
        loader=PackageLoader("fewshot.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = format_cell
    return environment.get_template("report.html").render(report=report)


def write_report(report: Report, path: Path) -> None:
    """Write the page to one HTML file, which appears when it is complete; missing folders are made."""
    write_whole(path, render_report(report).encode("utf-8"))


def format_cell(cell: Cell) -> str:
    """Print a cell of a table."""
    if cell is None:
        return "–"
    return f"{cell:.1f}" if isinstance(cell, float) else str(cell)
