"""Every program of every page runs as printed, and prints what the page says."""

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import ModuleType

import pytest

from tests.docs.pages import PAGES, ROOT, find_programs

RUN_ELSEWHERE = {"docs/sharding.md": "tests/partialot/test_sharded.py"}
"""Pages whose programs need more than one process, and the test that runs them."""


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


PROGRAMMED = [page for page in PAGES if find_programs(page)]


def run(page: Path) -> list[str]:
    """Run the programs of a page in one namespace, and give what was printed instead of what the page says."""
    namespace = vars(ModuleType(page.stem))
    wrong = []
    for program, printed in find_programs(page):
        with redirect_stdout(StringIO()) as said:
            exec(program, namespace)
        wrong += [said.getvalue()] if printed not in (None, said.getvalue()) else []
    return wrong


@pytest.mark.parametrize("page", [page for page in PROGRAMMED if name(page) not in RUN_ELSEWHERE], ids=name)
def test_programs_run_and_print_what_follows_them(page: Path, workplace: Path) -> None:
    assert run(page) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_of_python_is_a_program(page: Path) -> None:
    """Blocks that are indented or fenced otherwise would be run by no test."""
    opened = re.findall(
        r"^\W*(?:```|~~~)\W*(?:py|python|pycon|python3)\b", page.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(opened) == len(find_programs(page))


@pytest.mark.parametrize(("page", "test"), RUN_ELSEWHERE.items())
def test_programs_that_need_several_processes_have_a_test_of_their_own(page: str, test: str) -> None:
    assert Path(page).name in (ROOT / test).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("```python\nprint(1)\n```\n\n```text\n2\n```\n", ["1\n"]),
        ("```python\nx = 1\n```\n\nand\n\n```python\nprint(x)\n```\n\n```text\n1\n```\n", []),
        ("```python\nprint(1)\n```\n\nand\n\n```text\n2\n```\n", []),
    ],
    ids=["printed otherwise", "one namespace", "text further down is none that was printed"],
)
def test_what_follows_a_program_is_compared(tmp_path: Path, text: str, wrong: list[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    assert run(page) == wrong
