"""Write docs/gallery from examples/: a page for each script with what it printed and drew, and the index.

python docs/images/make_gallery.py            # all pages
python docs/images/make_gallery.py certificates

A script is made of percent cells: `# %%` begins code, `# %% [markdown]` text. The first cell is the title and, as its
first paragraph, the sentence that the index shows.
"""

import contextlib
import io
import re
import runpy
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
EXAMPLES, PAGES = ROOT / "examples", ROOT / "docs" / "gallery"

ORDER = (
    "partial_registration",
    "matching_photographs",
    "matching_layer",
    "positive_unlabelled",
    "loss_in_a_network",
    "learning_the_mass",
    "price_of_mass",
    "certificates",
    "past_memory",
    "from_pot",
    "from_geomloss",
    "from_superglue",
)
"""Of the index: what it is for, then how it works, then where one comes from."""

_CELL = re.compile(r"^# %%(?P<text> \[markdown\])?\n(?P<content>.*?)(?=^# %%|\Z)", flags=re.DOTALL | re.MULTILINE)
_PICTURE = re.compile(r'savefig\("(\w+\.png)"\)')
_HEAD = """# Gallery

Scripts of at most 120 lines, each of which measures what it claims against a truth that it knows; the tests run them
all. Get the repository, `make setup`, then `.venv/bin/python examples/certificates.py`: the picture is written where
you stand.
"""
_MARK = "\f"
"""Printed between cells, to tell what each of them printed."""


class Cell(NamedTuple):
    """A piece of a script."""

    is_text: bool
    content: str


def read_cells(script: str) -> list[Cell]:
    """Cut a script into its cells; text comes without its comment signs."""
    cells = []
    for match in _CELL.finditer(script):
        content = match["content"].strip("\n")
        is_text = match["text"] is not None
        cells.append(Cell(is_text, re.sub(r"^# ?", "", content, flags=re.MULTILINE) if is_text else content))
    return cells


def find_pictures(script: str) -> list[str]:
    """Name the files that a script draws."""
    return _PICTURE.findall(script)


def summarise(script: str) -> tuple[str, str]:
    """Give the title and the first paragraph."""
    title, summary = read_cells(script)[0].content.split("\n\n")[:2]
    return title.removeprefix("# "), summary.replace("\n", " ")


def run(script: str) -> list[str]:
    """Give what each code cell printed; pictures go to the folder of the pages."""
    separated = script.replace("\n# %%\n", f"\n# %%\nprint({_MARK!r}, end='')\n")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("script.py").write_text(separated, encoding="utf-8")
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            runpy.run_path("script.py", run_name="__main__")
        for name in find_pictures(script):
            (PAGES / "images" / name).write_bytes(Path(name).read_bytes())
    return printed.getvalue().split(_MARK)[1:]


def write_page(name: str, script: str, printed: Sequence[str]) -> str:
    """Give the page of a script; `printed` has what each code cell printed."""
    outputs, parts = iter(printed), []
    for cell in read_cells(script):
        if cell.is_text:
            parts.append(cell.content)
            continue
        output = next(outputs)
        parts.append(f"```python\n{cell.content}\n```")
        parts.extend([f"```text\n{output}```"] if output else [])
        parts.extend(f"![{summarise(script)[0]}](images/{picture})" for picture in find_pictures(cell.content))
    parts.append(f"This page is `examples/{name}.py`, run from top to bottom: `python examples/{name}.py`.")
    return "\n\n".join(parts) + "\n"


def write_index() -> str:
    """Give the index: two pictures a row, each with its title and its sentence."""
    entries = []
    for name in ORDER:
        script = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
        (title, summary), picture = summarise(script), find_pictures(script)[0]
        entries.append(f"[![{title}](images/{picture})]({name}.md)<br>**[{title}]({name}.md)**<br>{summary}")
    rows = [f"| {' | '.join(entries[start : start + 2])} |" for start in range(0, len(entries), 2)]
    return "\n".join([_HEAD, "| | |", "|---|---|", *rows]) + "\n"


def main() -> None:
    """Write the pages that are named, or all, and the index."""
    for name in sys.argv[1:] or ORDER:
        script = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
        (PAGES / f"{name}.md").write_text(write_page(name, script, run(script)), encoding="utf-8")
        print(f"docs/gallery/{name}.md")
    (PAGES / "index.md").write_text(write_index(), encoding="utf-8")


if __name__ == "__main__":
    main()
