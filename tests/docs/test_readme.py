"""The programs of the README are short, and do what it says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fewshot.cli import parse
from fewshot.commands.options import read_run
from fewshot.demo import WEIGHTS
from tests.docs.conftest import SIZE
from tests.docs.pages import ROOT, find_blocks

PROGRAMS = find_blocks(ROOT / "README.md", "python")


def test_each_program_has_at_most_five_lines() -> None:
    assert all(len([line for line in program.splitlines() if line.strip()]) <= 5 for program in PROGRAMS)


def test_plan_value_price_and_gap_are_printed_and_a_mask_of_the_size_of_the_query_is_written(
    run_page: Callable[[str], dict[str, Any]], workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_page("README.md")
    assert capsys.readouterr().out.count("tensor(") == 4
    with Image.open(workplace / "prediction.png") as mask:
        assert mask.size == SIZE


def test_the_demo_leaves_the_files_that_the_prediction_reads() -> None:
    output = read_run(parse(["demo"])["demo"]).output
    assert str(output / WEIGHTS) in PROGRAMS[1]
    assert str(output / "example") in PROGRAMS[1]
