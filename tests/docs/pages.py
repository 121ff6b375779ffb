"""What the pages hold: fenced blocks by language, and YAML files by the name in their first line."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

_BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<content>.*?)^```", flags=re.DOTALL | re.MULTILINE)
_PROGRAM = re.compile(
    r"^```python\n(?P<program>.*?)^```\n(?:\n```text\n(?P<printed>.*?)^```)?", re.DOTALL | re.MULTILINE
)
_FILE_NAME = re.compile(r"# (?P<name>[\w-]+\.yaml)\n")


def find_blocks(page: Path, language: str) -> list[str]:
    """Give the content of every fenced block of a language, in order."""
    matches = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [match["content"] for match in matches if match["language"] == language]


def find_programs(page: Path) -> list[tuple[str, str | None]]:
    """Give every program of a page, in order, with what it is said to print: a block of text right after it."""
    return [(match["program"], match["printed"]) for match in _PROGRAM.finditer(page.read_text(encoding="utf-8"))]


def find_yaml_files() -> Iterator[tuple[Path, str, str]]:
    """Give page, name and content of every YAML file that a page shows; blocks without a name are none."""
    for page in PAGES:
        for block in find_blocks(page, "yaml"):
            match = _FILE_NAME.match(block)
            if match is not None:
                yield page, match["name"], block
