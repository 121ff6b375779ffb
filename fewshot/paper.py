"""What the paper prints in its tables, and which preset makes each of their rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from statistics import fmean
from typing import Literal

import yaml

PrintedScore = Literal["miou", "fb_iou"]


@dataclass(frozen=True)
class Printed:
    """What the paper prints for one number of shots, in per cent.

    Attributes:
        mean: Over the folds.
        folds: Fold by fold; empty where the paper prints the mean alone.
    """

    mean: float
    folds: tuple[float, ...] = ()

    def over(self, folds: Sequence[int] | None = None) -> float | None:
        """Give what the paper prints for some folds, None for all: their mean; None where it does not print them."""
        if folds is None:
            return self.mean
        if not folds or max(folds) >= len(self.folds):
            return None
        return fmean(self.folds[fold] for fold in folds)


@dataclass(frozen=True)
class TableRow:
    """A network of a table.

    Attributes:
        name: As the row is called.
        preset: What makes it, on top of the table's base.
        paper: What the paper prints, by number of shots.
        trained: The preset whose network is scored, for a row that differs from it in the test alone; None for its own.
    """

    name: str
    preset: str
    paper: Mapping[int, Printed]
    trained: str | None = None


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper.

    Attributes:
        number: As the paper counts, I to VIII; the eighth is in two parts.
        caption: What it compares.
        score: Which score it prints.
        base: The preset that all its rows start from.
        rows: Its networks.
    """

    number: str
    caption: str
    score: PrintedScore
    base: str
    rows: tuple[TableRow, ...]

    @property
    def shots(self) -> tuple[int, ...]:
        """List the numbers of shots that the paper prints scores for."""
        return tuple(sorted({shot for row in self.rows for shot in row.paper}))


def load_tables() -> dict[str, PaperTable]:
    """Read every table that the package knows, by number."""
    content = yaml.safe_load((files("fewshot") / "configs/tables.yaml").read_text(encoding="utf-8"))
    return {number: _read_table(number, table) for number, table in content.items()}


def find_table(number: str) -> PaperTable:
    """Give a table by its number.

    Raises:
        ValueError: There is no such table.
    """
    tables = load_tables()
    if number not in tables:
        raise ValueError(
            f"`table` must be a table of the paper. Found `table = {number!r}`. Pass one of {', '.join(tables)}."
        )
    return tables[number]


def _read_table(number: str, content: dict) -> PaperTable:
    rows = tuple(
        TableRow(
            row["name"],
            row["preset"],
            {
                shot: Printed(float(cell["mean"]), tuple(float(score) for score in cell.get("folds", ())))
                for shot, cell in row["paper"].items()
            },
            row.get("trained"),
        )
        for row in content["rows"]
    )
    return PaperTable(number, content["caption"], content["score"], content["base"], rows)
