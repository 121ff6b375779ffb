"""A table of the paper made over again: every row on every fold with every seed, ours beside what the paper prints."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from fewshot.evaluation.results import Result
from fewshot.paper import PaperTable, PrintedScore, TableRow
from fewshot.reporting.report import Report
from fewshot.reporting.sections import differences_section, format_spread
from fewshot.reporting.summaries import SCORE_NAMES, paper_section, result_sections

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Grid:
    """What a table is made of, and where it goes.

    Attributes:
        folds: The folds that scores are averaged over.
        seeds: Seeds that each row is trained with on each fold; the spread is over them.
        output: Folder of all runs. A run that is there and finished is not made again.
        whole: Whether these are all folds of the data set: only then is their mean set beside the paper's.
    """

    folds: tuple[int, ...]
    seeds: tuple[int, ...]
    output: Path
    whole: bool = True

    def __post_init__(self) -> None:
        """Refuse tables of nothing."""
        for name in ("folds", "seeds"):
            numbers = getattr(self, name)
            if not numbers or min(numbers) < 0 or len(set(numbers)) != len(numbers):
                raise ValueError(
                    f"`{name}` must hold one or more different numbers from 0 on. Found `{name} = {numbers}`. Correct "
                    f"the list."
                )

    @property
    def printed_folds(self) -> tuple[int, ...] | None:
        """Say which folds of the paper these are beside, as `Printed.over` takes them."""
        return None if self.whole else self.folds


Results = Mapping[tuple[int, int], Result]
"""Results of one row by (fold, seed)."""


Make = Callable[[TableRow, int, int], Result]
"""Makes the run of a row, a fold and a seed, or finds it in its folder."""


def run_folder(output: Path, preset: str, fold: int, seed: int) -> Path:
    """Name the folder of a run by its preset, so that rows that several tables share are run once."""
    return output / preset.rpartition("/")[2] / f"fold{fold}-seed{seed}"


def reproduce_table(table: PaperTable, grid: Grid, make: Make) -> dict[str, Results]:
    """Make every run of a table, row after row, and gather the results by the names of the rows."""
    total, done = len(table.rows) * len(grid.folds) * len(grid.seeds), 0
    results: dict[str, Results] = {}
    for row in table.rows:
        found: dict[tuple[int, int], Result] = {}
        for fold in grid.folds:
            for seed in grid.seeds:
                done += 1
                logger.info("Run %d of %d: %s, fold %d, seed %d.", done, total, row.name, fold, seed)
                found[fold, seed] = make(row, fold, seed)
        results[row.name] = found
    return results


def average_folds(results: Results, grid: Grid, shot: int, score: PrintedScore) -> tuple[float, ...]:
    """Give a row's mean over the folds for each seed, in per cent; of each run the mean over its lists of episodes."""
    return tuple(fmean(results[fold, seed].summarise(shot, score).mean for fold in grid.folds) for seed in grid.seeds)


def summarise_table(table: PaperTable, results: Mapping[str, Results], grid: Grid) -> dict[str, Any]:
    """Say in JSON's types what each row scored on each fold with each seed, beside what the paper prints.

    A score is in per cent, and the mean over the lists of episodes of its run.
    """
    return {
        "table": table.number,
        "caption": table.caption,
        "score": table.score,
        "folds": grid.folds,
        "seeds": grid.seeds,
        "rows": [
            {
                "name": row.name,
                "preset": row.preset,
                "ours": {
                    shot: {
                        fold: [results[row.name][fold, seed].summarise(shot, table.score).mean for seed in grid.seeds]
                        for fold in grid.folds
                    }
                    for shot in _list_shots(results)
                },
                "paper": {shot: printed.over(grid.printed_folds) for shot, printed in row.paper.items()},
            }
            for row in table.rows
        ],
    }


def format_table(table: PaperTable, results: Mapping[str, Results], grid: Grid) -> str:
    """Lay a table out for the terminal: ours, its spread over seeds, and the paper's."""
    shots = _list_shots(results)
    width = max(len(row.name) for row in table.rows)
    lines = [
        f"Table {table.number}: {table.caption}; {SCORE_NAMES[table.score]}, folds {list(grid.folds)}, "
        f"seeds {list(grid.seeds)}",
        "  ".join([" " * width, *(f"{f'ours, {shot}-shot':>14}  {'paper':>5}" for shot in shots)]),
    ]
    for row in table.rows:
        cells = [row.name.ljust(width)]
        for shot in shots:
            ours = format_spread(average_folds(results[row.name], grid, shot, table.score))
            printed = row.paper.get(shot)
            paper = None if printed is None else printed.over(grid.printed_folds)
            cells.append(f"{ours:>14}  {'' if paper is None else format(paper, '.1f'):>5}")
        lines.append("  ".join(cells))
    return "\n".join(lines)


def report_table(table: PaperTable, results: Mapping[str, Results], grid: Grid, *, commands: Sequence[str]) -> Report:
    """Make the report of a table: ours beside the paper's, and every row above the first one, seed by seed."""
    shots = _list_shots(results)
    scores = {
        name: {shot: average_folds(found, grid, shot, table.score) for shot in shots} for name, found in results.items()
    }
    first, shot = table.rows[0].name, shots[0]
    sections = [paper_section(table, scores, folds=grid.printed_folds)]
    if len(table.rows) > 1:
        differences = {
            name: [one - other for one, other in zip(row[shot], scores[first][shot], strict=True)]
            for name, row in scores.items()
            if name != first
        }
        label = f"{SCORE_NAMES[table.score]}, {shot}-shot"
        sections.append(differences_section(differences, baseline=first, spread="seeds", score=label))
    by_fold = {name: list(found.values()) for name, found in results.items()}
    sections += result_sections(by_fold, commands=commands)[1:]
    summary = f"{table.caption}. Folds {list(grid.folds)}, seeds {list(grid.seeds)}."
    return Report(f"Table {table.number}", summary, tuple(sections))


def _list_shots(results: Mapping[str, Results]) -> tuple[int, ...]:
    return next(iter(next(iter(results.values())).values())).shots
