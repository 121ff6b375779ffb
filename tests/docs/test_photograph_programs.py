"""The programs about a folder of photographs do what the pages say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.docs.conftest import SIZE
from tests.docs.pages import ROOT, find_blocks


def test_your_own_photographs_are_segmented(
    run_page: Callable[[str], dict[str, Any]], workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run_page("docs/your_own_photographs.md")["found"]
    assert capsys.readouterr().out.endswith("% of the picture is cat\n")
    for name in ("cat", "cat-0", "cat-1"):
        with Image.open(workplace / f"{name}.png") as mask:
            assert mask.size == SIZE
    page = (ROOT / "docs" / "your_own_photographs.md").read_text(encoding="utf-8")
    fields = page.partition("| of `found` |")[2].partition("\n\n")[0]
    assert [name for name in vars(found) if f"`{name}`" not in fields] == []


def test_another_mass_moves_without_training(run_page: Callable[[str], dict[str, Any]]) -> None:
    namespace = run_page("docs/try_it.md")
    assert namespace["segmenter"].model.config.matching.mass_ratio == 1.0
    assert namespace["found"].mask.shape == SIZE[::-1]


def test_a_folder_is_a_data_set(run_page: Callable[[str], dict[str, Any]]) -> None:
    namespace = run_page("docs/data.md")
    assert len(namespace["train"].entries) == 2
    assert len(namespace["test"].entries) == 4
    assert namespace["labelled"].labels.shape == SIZE[::-1]


def test_the_first_program_has_at_most_five_lines() -> None:
    program = find_blocks(ROOT / "docs" / "your_own_photographs.md", "python")[0]
    assert len([line for line in program.splitlines() if line.strip()]) <= 5
