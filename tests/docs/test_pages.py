"""The programs of docs/ print what the page says they print."""

import re
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs"
PRINTED = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", flags=re.DOTALL)
PROGRAMS = [
    pytest.param(program, printed, id=f"{page.stem}-{number}")
    for page in sorted(PAGES.glob("*.md"))
    for number, (program, printed) in enumerate(PRINTED.findall(page.read_text(encoding="utf-8")))
]


@pytest.mark.parametrize(("program", "printed"), PROGRAMS)
def test_programs_print_what_follows_them(program: str, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(program, {})
    assert capsys.readouterr().out == printed


def test_the_recipe_for_padding_is_a_program() -> None:
    assert "padding-0" in [case.id for case in PROGRAMS]
