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
        return f"{match[1]}{format_table(record)}{match[3]}"

    return BLOCK.sub(render, page)


def format_table(record: dict[str, Any]) -> str:
    """Lay out a table of the paper: ours, and every row above the first one on the same folds, seeds and episodes."""
    if "maps" in record:
        return format_maps(record)
    shot = min(record["rows"][0]["ours"], key=int)
    first = _list_runs(record["rows"][0], shot)
    printed = record["rows"][0]["paper"].get(shot)
    lines = [
        "| network | ours | above the first | runs above | paper | above the first |",
        "|---|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        runs = _list_runs(row, shot)
        means = [statistics.fmean(seed) for seed in zip(*row["ours"][shot].values(), strict=True)]
        spread = f" ± {statistics.stdev(means):.1f}" if len(means) > 1 else ""
        differences = [one - other for one, other in zip(runs, first, strict=True)]
        error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else 0.0
        same = row is record["rows"][0]
        change = "" if same else f"{statistics.fmean(differences):+.1f} ± {error:.1f}"
        above = "" if same else f"{sum(one > 0 for one in differences)} of {len(differences)}"
        paper = row["paper"].get(shot)
        ours = f"{statistics.fmean(means):.1f}{spread}"
        cells = [row["name"], ours, change, above, "", ""]
        if paper is not None and printed is not None:
            cells[4] = f"{paper:.1f}"
            cells[5] = "" if same else f"{paper - printed:+.1f}"
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


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
