"""A table made of runs: which there are, what is averaged over what, and what is printed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fewshot.data.folder import Folder
from fewshot.evaluation.evaluate import evaluate_fold
from fewshot.evaluation.results import Origin, Result
from fewshot.model.cmnet import CMNet
from fewshot.paper import PaperTable, Printed, TableRow
from fewshot.reporting.report import Table
from fewshot.reproduce import (
    Grid,
    average_folds,
    format_table,
    report_table,
    reproduce_table,
    run_folder,
    summarise_table,
)
from tests.fewshot.photographs import CONFIG

GRID = Grid(folds=(0, 2), seeds=(5, 6), output=Path("runs"))
TABLE = PaperTable(
    "III",
    "Two networks",
    "miou",
    "pascal",
    (
        TableRow("baseline", "rows/baseline", {1: Printed(50.0)}),
        TableRow("partial transport", "rows/partial", {1: Printed(51.0, (50.0, 52.0))}),
    ),
)
SCORES = {
    "baseline": {(0, 5): 10.0, (0, 6): 20.0, (2, 5): 30.0, (2, 6): 60.0},
    "partial transport": {(0, 5): 11.0, (0, 6): 24.0, (2, 5): 33.0, (2, 6): 66.0},
}
"""By fold and seed."""


@pytest.fixture(scope="module")
def results(network: CMNet, photographs: Folder) -> dict[str, dict[tuple[int, int], Result]]:
    """Results whose mIoU, in both of their lists, is that of `SCORES`, and whose FB-IoU is one point more."""
    result = evaluate_fold(network, photographs, 0, replace(CONFIG, shots=(1,)), origin=Origin("last", "keep"))

    def score(points: float) -> Result:
        runs = (replace(run, scores=replace(run.scores, miou=points, fb_iou=points + 1)) for run in result.runs)
        return replace(result, runs=tuple(runs))

    return {name: {key: score(points) for key, points in row.items()} for name, row in SCORES.items()}


@pytest.mark.parametrize("name", ["folds", "seeds"])
@pytest.mark.parametrize("numbers", [(), (1, 1), (-1, 0)], ids=str)
def test_a_table_of_nothing_or_of_the_same_twice_is_refused(name: str, numbers: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"`{name}` must hold .* Found `{name} = \(.*\)`\. Correct the list\."):
        replace(GRID, **{name: numbers})


def test_every_row_is_made_on_every_fold_with_every_seed(results: dict[str, dict[tuple[int, int], Result]]) -> None:
    made: list[tuple[str, int, int]] = []

    def make(row: TableRow, fold: int, seed: int) -> Result:
        made.append((row.preset, fold, seed))
        return results[row.name][fold, seed]

    assert reproduce_table(TABLE, GRID, make) == results
    assert made == [
        ("rows/baseline", 0, 5),
        ("rows/baseline", 0, 6),
        ("rows/baseline", 2, 5),
        ("rows/baseline", 2, 6),
        ("rows/partial", 0, 5),
        ("rows/partial", 0, 6),
        ("rows/partial", 2, 5),
        ("rows/partial", 2, 6),
    ]


def test_rows_that_tables_share_have_one_folder() -> None:
    renamed = replace(TABLE.rows[0], name="called otherwise")
    folders = [run_folder(GRID.output, row.preset, 0, 5) for row in (renamed, TABLE.rows[0])]
    assert folders == 2 * [Path("runs/baseline/fold0-seed5")]


def test_the_spread_is_over_seeds_of_means_over_folds(results: dict[str, dict[tuple[int, int], Result]]) -> None:
    assert average_folds(results["baseline"], GRID, 1, "miou") == (20.0, 40.0)
    assert average_folds(results["baseline"], GRID, 1, "fb_iou") == (21.0, 41.0)


def test_the_table_on_the_terminal_has_ours_beside_the_papers(
    results: dict[str, dict[tuple[int, int], Result]],
) -> None:
    assert format_table(TABLE, results, GRID).splitlines() == [
        "Table III: Two networks; mIoU, folds [0, 2], seeds [5, 6]",
        "                     ours, 1-shot  paper",
        "baseline              30.0 ± 14.1   50.0",
        "partial transport     33.5 ± 16.3   51.0",
    ]


def test_shots_that_the_paper_does_not_print_have_no_number_of_the_papers(
    results: dict[str, dict[tuple[int, int], Result]],
) -> None:
    unprinted = replace(TABLE, rows=tuple(replace(row, paper={5: Printed(40.0)}) for row in TABLE.rows))
    assert format_table(unprinted, results, GRID).splitlines()[2] == "baseline              30.0 ± 14.1       "


def test_the_file_of_a_table_has_every_run(results: dict[str, dict[tuple[int, int], Result]]) -> None:
    summary: dict[str, Any] = summarise_table(TABLE, results, GRID)
    assert (summary["table"], summary["score"], summary["folds"], summary["seeds"]) == ("III", "miou", (0, 2), (5, 6))
    baseline, partial = summary["rows"]
    assert baseline["ours"] == {1: {0: [10.0, 20.0], 2: [30.0, 60.0]}}
    assert (partial["name"], partial["preset"]) == ("partial transport", "rows/partial")
    assert partial["paper"] == {1: 51.0}


def test_the_report_compares_rows_with_the_first_one_seed_by_seed(
    results: dict[str, dict[tuple[int, int], Result]],
) -> None:
    report = report_table(TABLE, results, GRID, commands=["fewshot reproduce --table=III"])
    assert report.title == "Table III"
    titles = [section.title for section in report.sections]
    assert titles[:2] == ["Table III: Two networks", "Differences from baseline"]
    assert titles[2:] == ["Classes", "How it was made", "Settings"]
    tables = [part for section in report.sections[:2] for part in section.parts if isinstance(part, Table)]
    assert tables[0].rows[1] == ("partial transport", "33.5 ± 16.3", 51.0, "-17.5")
    assert tables[1].rows == (("partial transport", 3.5, pytest.approx(3.0), 2),)


def test_a_table_of_one_row_compares_nothing(results: dict[str, dict[tuple[int, int], Result]]) -> None:
    single = replace(TABLE, rows=TABLE.rows[:1])
    report = report_table(single, {"baseline": results["baseline"]}, GRID, commands=[])
    assert [section.title for section in report.sections][1] == "Classes"
