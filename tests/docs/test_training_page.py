"""What the page of training says of COCO and PASCAL, and of the files of a run, is so."""

import re

import pytest

from fewshot.data.folds import COCO_CLASSES, PASCAL_CLASSES, PASCAL_FOLDS, canonical_name, coco_fold, pascal_fold
from fewshot.evaluation.results import Result
from fewshot.records import CONFIGURATION, REPORT, RESULT
from fewshot.training.keeping import RESUME
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
ACROSS = PAGE.partition("## COCO to PASCAL")[2]
ROWS = re.findall(r"^\| (\d) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", ACROSS, flags=re.MULTILINE)


def split_names(cell: str) -> list[str]:
    return [] if cell == "–" else cell.split(", ")


def test_the_page_has_a_row_for_each_fold_of_coco() -> None:
    assert [row[0] for row in ROWS] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("name", sorted(set(COCO_CLASSES) - {canonical_name(name) for name in COCO_CLASSES}))
def test_names_of_coco_that_are_read_as_pascal_s_are_listed(name: str) -> None:
    assert name in ACROSS.replace("\n", " ")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_classes_of_pascal_that_a_fold_of_coco_has_not_seen(row: tuple[str, ...]) -> None:
    seen = {canonical_name(COCO_CLASSES[label - 1]) for label in coco_fold(int(row[0]), "interleaved").held_in}
    for number in range(PASCAL_FOLDS):
        tested = [PASCAL_CLASSES[label - 1] for label in pascal_fold(number).held_out]
        assert split_names(row[1 + number]) == [name for name in tested if name not in seen]


def test_files_of_a_run_are_those_that_it_writes() -> None:
    table = PAGE.partition("## The folder of a run")[2].partition("## ")[0]
    for name in (CONFIGURATION, REPORT, RESULT, RESUME):
        assert f"{name}`" in table


def test_every_part_of_a_result_is_explained() -> None:
    table = PAGE.partition("## The result file")[2].partition("## ")[0]
    assert [name for name in Result.__dataclass_fields__ if f"| `{name}` |" not in table] == []
