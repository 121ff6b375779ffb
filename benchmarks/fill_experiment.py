"""Fill the tables of docs/experiment.md from the files that `fewshot reproduce` left: no score is typed.

python benchmarks/fill_experiment.py

A table stands between `<!-- table: NAME -->` and `<!-- end -->`, NAME being a file of benchmarks/results/experiment: a
table of the paper, or the maps of `benchmarks/bench_maps.py`.
"""

import json
import re
import statistics
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "experiment"
PAGE = Path(__file__).parents[1] / "docs" / "experiment.md"
BLOCK = re.compile(r"(<!-- table: (?P<name>[\w.-]+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)


def fill(page: str) -> str:
    """Put every table of a page anew."""

    def render(match: re.Match[str]) -> str:
        record = json.loads((RESULTS / f"{match['name']}.json").read_text(encoding="utf-8"))
        table = format_maps(record) if "maps" in record else format_table(record)
        return f"{match[1]}{table}{match[3]}"

    return BLOCK.sub(render, page)


def format_table(record: dict[str, Any]) -> str:
    """Lay out a table of the paper: ours, and what a row adds on the same folds, seeds and episodes.

    Rows of table I add a part each to the row before; those of the other tables stand beside the first.
    """
    rows = record["rows"]
    shot = min(rows[0]["ours"], key=int)
    adds_up = record["table"] == "I"
    above = "above the row before" if adds_up else "above the first"
    lines = [f"| network | ours | {above} | runs above | paper | {above} |", "|---|---|---|---|---|---|"]
    for i, row in enumerate(rows):
        other = None if i == 0 else rows[i - 1 if adds_up else 0]
        cells = [row["name"], _format_mean(row, shot), *_compare(row, other, shot), *_compare_printed(row, other, shot)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _format_mean(row: dict[str, Any], shot: str) -> str:
    """Give the mean over folds, with its spread over seeds."""
    means = [statistics.fmean(seed) for seed in zip(*row["ours"][shot].values(), strict=True)]
    spread = f" ± {statistics.stdev(means):.1f}" if len(means) > 1 else ""
    return f"{statistics.fmean(means):.1f}{spread}"


def _compare(row: dict[str, Any], other: dict[str, Any] | None, shot: str) -> tuple[str, str]:
    """Give the mean difference of the pairs with its standard error, and in how many the row is above."""
    if other is None:
        return "", ""
    differences = [one - two for one, two in zip(_list_runs(row, shot), _list_runs(other, shot), strict=True)]
    error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else 0.0
    above = sum(one > 0 for one in differences)
    return f"{statistics.fmean(differences):+.1f} ± {error:.1f}", f"{above} of {len(differences)}"


def _compare_printed(row: dict[str, Any], other: dict[str, Any] | None, shot: str) -> tuple[str, str]:
    """Give what the paper prints, and its difference from what it prints for the other row."""
    paper = row["paper"].get(shot)
    if paper is None:
        return "", ""
    printed = None if other is None else other["paper"].get(shot)
    return f"{paper:.1f}", "" if printed is None else f"{paper - printed:+.1f}"


def format_maps(record: dict[str, Any]) -> str:
    """Lay out what maps are worth before anything is trained."""
    lines = ["| map | average precision | above full transport |", "|---|---|---|"]
    for name, one in record["maps"].items():
        change = "" if name == "full" else f"{one['above full']:+.3f} ± {one['standard error']:.3f}"
        lines.append(f"| {name} | {one['precision']:.3f} | {change} |")
    return "\n".join(lines) + "\n"


def _list_runs(row: dict[str, Any], shot: str) -> list[float]:
    return [score for seeds in row["ours"][shot].values() for score in seeds]


if __name__ == "__main__":
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
