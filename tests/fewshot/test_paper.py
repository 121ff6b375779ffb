"""What the paper prints, and that its rows are presets one choice apart."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Any

import pytest

from fewshot.paper import Printed, find_table, load_tables
from tests.fewshot.preset_cases import read_presets

MEANS = {
    "I": [{1: 59.1}, {1: 60.2}, {1: 61.0}, {1: 61.2}, {1: 62.0}, {1: 62.5}],
    "II": [{1: 59.1}, {1: 59.7}, {1: 59.9}, {1: 60.2}],
    "III": [{1: 59.1}, {1: 59.2}, {1: 59.5}, {1: 60.2}, {1: 59.6}, {1: 60.5}],
    "IV": [{1: 62.5, 5: 63.6}],
    "V": [{1: 35.0, 5: 37.5}],
    "VI": [{1: 73.5, 5: 74.1}],
    "VII": [{1: 82.5, 5: 83.8}],
    "VIII-PASCAL": [{1: 55.4}],
    "VIII-FSS": [{1: 80.8}],
}
"""Rows of CMNet and its ablations in the first version of arXiv 2108.08518, by number of shots."""


def list_differences(one: Any, other: Any, prefix: str = "") -> set[str]:
    """Name the fields in which two configurations differ."""
    if not is_dataclass(one) or type(one) is not type(other):
        return set() if one == other else {prefix.rstrip(".")}
    found: set[str] = set()
    for field in fields(one):
        found |= list_differences(getattr(one, field.name), getattr(other, field.name), f"{prefix}{field.name}.")
    return found


def compare_rows(table: str, one: int, other: int) -> set[str]:
    """Name the fields in which two rows of a table differ, by their places."""
    base, rows = find_table(table).base, find_table(table).rows
    return list_differences(read_presets(base, rows[one].preset), read_presets(base, rows[other].preset))


def test_the_tables_are_those_of_the_paper() -> None:
    assert {
        number: [{shot: printed.mean for shot, printed in row.paper.items()} for row in table.rows]
        for number, table in load_tables().items()
    } == MEANS


@pytest.mark.parametrize(
    ("table", "folds"),
    [
        ("IV", {1: (65.4, 71.5, 55.2, 58.1), 5: (67.0, 71.7, 55.8, 59.9)}),
        ("V", {1: (48.7, 33.3, 26.8, 31.2), 5: (49.5, 35.6, 31.8, 33.1)}),
    ],
)
def test_folds_are_those_of_the_paper(table: str, folds: Mapping[int, tuple[float, ...]]) -> None:
    (row,) = find_table(table).rows
    assert {shot: printed.folds for shot, printed in row.paper.items()} == folds


@pytest.mark.parametrize(
    ("number", "score", "base", "shots"),
    [
        ("I", "miou", "pascal", (1,)),
        ("V", "miou", "coco", (1, 5)),
        ("VI", "fb_iou", "pascal", (1, 5)),
        ("VII", "miou", "fss1000", (1, 5)),
        ("VIII-FSS", "miou", "fss1000", (1,)),
    ],
)
def test_a_table_knows_its_score_data_and_shots(number: str, score: str, base: str, shots: tuple[int, ...]) -> None:
    table = find_table(number)
    assert (table.number, table.score, table.base, table.shots) == (number, score, base, shots)


def test_rows_of_table_one_add_one_part_after_another() -> None:
    added = [compare_rows("I", *places) for places in pairwise(range(6))]
    assert added == [
        {"network.message_flow"},
        {"multi_task"},
        {"network.refinement_passes"},
        {"network.prior"},
        {"network.transport"},
    ]


def test_rows_of_table_two_differ_in_the_message_flow_only() -> None:
    assert [compare_rows("II", 0, place) for place in (1, 2, 3)] == [{"network.message_flow"}] * 3
    flows = [read_presets("pascal", row.preset).network.message_flow for row in find_table("II").rows]
    assert flows == [(), ("inner",), ("cross",), ("inner", "cross")]


def test_rows_of_table_three_are_every_transport_with_and_without_the_prior() -> None:
    configs = [read_presets("pascal", row.preset) for row in find_table("III").rows]
    assert [(one.network.transport, one.network.prior) for one in configs] == [
        ("none", False),
        ("full", False),
        ("partial", False),
        ("none", True),
        ("full", True),
        ("partial", True),
    ]
    for place in range(1, 6):
        assert compare_rows("III", 0, place) <= {"network.transport", "network.prior"}


@pytest.mark.parametrize("number", ["IV", "V", "VI", "VII"])
def test_the_other_tables_are_about_the_whole_network_of_table_one(number: str) -> None:
    assert [row.preset for row in find_table(number).rows] == [find_table("I").rows[-1].preset]


@pytest.mark.parametrize("number", ["VIII-PASCAL", "VIII-FSS"])
def test_boxes_change_what_the_supports_of_the_test_are_labelled_with_and_nothing_else(number: str) -> None:
    base, (row,) = find_table(number).base, find_table(number).rows
    boxes = read_presets(base, row.preset)
    assert list_differences(boxes, read_presets(base, "rows/cmnet")) == {"evaluation.annotation.kind"}
    assert boxes.evaluation.annotation.kind == "box"


@pytest.mark.parametrize("number", ["IX", "1", "VIII", "i"])
def test_an_unknown_table_is_refused(number: str) -> None:
    with pytest.raises(ValueError, match=rf"Found `table = '{number}'`\. Pass one of I, II, .*, VIII-FSS\."):
        find_table(number)


def test_the_papers_mean_stands_beside_all_folds_and_its_columns_beside_some() -> None:
    printed = Printed(51.0, (50.0, 52.0, 54.0, 48.0))
    assert printed.over() == 51.0
    assert printed.over((0, 2)) == 52.0
    assert printed.over((4,)) is None
    assert Printed(59.1).over((0,)) is None
