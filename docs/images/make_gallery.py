"""Write docs/gallery from examples/: a page for each script with what it printed and drew, and the index.

python docs/images/make_gallery.py            # all pages
python docs/images/make_gallery.py certificates

In a script `# %%` begins code, `# %% [markdown]` text. The first cell is the title and, as its first paragraph, the
sentence that the index shows.
"""

import contextlib
import io
import re
import runpy
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
EXAMPLES, PAGES = ROOT / "examples", ROOT / "docs" / "gallery"

# What it is for, then how it works, then where one comes from.
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

_HEAD = """# Gallery

Scripts of at most 120 lines, each of which measures what it claims against a truth that it knows; the tests run them
all. Get the repository, `make setup`, then `.venv/bin/python examples/certificates.py`: the picture is written where
you stand.
"""
_CELL = re.compile(r"^# %%( \[markdown\])?\n(.*?)(?=^# %%|\Z)", flags=re.DOTALL | re.MULTILINE)
_PICTURE = re.compile(r'savefig\("(\w+\.png)"\)')
_MARK = "\f"


def read_script(name: str) -> str:
    """Give the text of an example."""
    return (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")


def read_cells(script: str) -> list[tuple[bool, str]]:
    """Cut a script into its cells: whether it is text, and that without its comment signs, or code."""
    cells = [(bool(kind), content.strip("\n")) for kind, content in _CELL.findall(script)]
    return [(is_text, re.sub(r"^# ?", "", cell, flags=re.MULTILINE) if is_text else cell) for is_text, cell in cells]


def find_pictures(script: str) -> list[str]:
    """Name the files that a script draws."""
    return _PICTURE.findall(script)


def summarise(script: str) -> tuple[str, str]:
    """Give the title and the first paragraph."""
    title, summary = read_cells(script)[0][1].split("\n\n")[:2]
    return title.removeprefix("# "), summary.replace("\n", " ")


def run(script: str) -> list[str]:
    """Give what each code cell printed, told apart by a mark; pictures go to the folder of the pages."""
    separated = script.replace("\n# %%\n", f"\n# %%\nprint({_MARK!r}, end='')\n")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("script.py").write_text(separated, encoding="utf-8")
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            runpy.run_path("script.py", run_name="__main__")
        for name in find_pictures(script):
            # A palette: a third of the bytes, and no difference to be seen.
            with Image.open(name) as picture:
                picture.convert("RGB").quantize(256).save(PAGES / "images" / name, optimize=True)
    return printed.getvalue().split(_MARK)[1:]


def write_page(name: str, script: str, printed: Sequence[str]) -> str:
    """Give the page of a script; `printed` has what each code cell printed."""
    outputs, parts = iter(printed), []
    for is_text, cell in read_cells(script):
        if is_text:
            parts.append(cell)
            continue
        output = next(outputs)
        parts.append(f"```python\n{cell}\n```")
        parts.extend([f"```text\n{output}```"] if output else [])
        parts.extend(f"![{summarise(script)[0]}](images/{picture})" for picture in find_pictures(cell))
    parts.append(f"This page is `examples/{name}.py`, run from top to bottom: `python examples/{name}.py`.")
    return "\n\n".join(parts) + "\n"


def write_index() -> str:
    """Give the index: two pictures a row, each with its title and its sentence."""
    entries = []
    for name in ORDER:
        (title, summary), picture = summarise(read_script(name)), find_pictures(read_script(name))[0]
        entries.append(f"[![{title}](images/{picture})]({name}.md)<br>**[{title}]({name}.md)**<br>{summary}")
    rows = [f"| {' | '.join(entries[start : start + 2])} |" for start in range(0, len(entries), 2)]
    return "\n".join([_HEAD, "| | |", "|---|---|", *rows]) + "\n"


def main() -> None:
    """Write the pages that are named, or all, and the index."""
    for name in sys.argv[1:] or ORDER:
        script = read_script(name)
        (PAGES / f"{name}.md").write_text(write_page(name, script, run(script)), encoding="utf-8")
        print(f"docs/gallery/{name}.md")
    (PAGES / "index.md").write_text(write_index(), encoding="utf-8")


if __name__ == "__main__":
    main()
