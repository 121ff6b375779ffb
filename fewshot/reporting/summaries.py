"""Results of evaluations as sections of a report: scores, differences on the same episodes, classes, circumstances."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from fewshot.evaluation.results import Evaluation, Result, ScoreName
from fewshot.paper import PaperTable
from fewshot.reporting.report import Cell, Section, Table
from fewshot.reporting.sections import (
    classes_section,
    differences_section,
    format_spread,
    making_section,
    scores_section,
    settings_section,
)

SCORE_NAMES: Mapping[ScoreName, str] = {"miou": "mIoU", "fb_iou": "FB-IoU", "episode_iou": "mean IoU of episodes"}
"""How scores are called in tables."""

Rows = Mapping[str, Sequence[Result]]
"""For each network its results: one, or one for each seed that it was trained with, in one order for all networks."""


def result_sections(rows: Rows, *, baseline: str | None = None, commands: Sequence[str] = ()) -> tuple[Section, ...]:
    """Show what one or more networks scored on one fold, and how that was made.

    Args:
        rows: The networks. Their scores are means over the lists of episodes; the spread is over seeds, or over the
            lists where each network has a single result.
        baseline: A network that the others are compared with, list by list, if there is any.
        commands: What was typed to make them.

    Raises:
        ValueError: A network has no result, or those that are compared were not evaluated on the same episodes.
    """
    shots = next(iter(rows.values()))[0].shots if rows and all(rows.values()) else ()
    if not shots:
        raise ValueError(
            f"Every network must have at least one result. Found { ({name: len(row) for name, row in rows.items()}) }. "
            f"Leave out networks that were not evaluated."
        )
    scores = {
        name: {
            f"{SCORE_NAMES[score]}, {shot}-shot": list_scores(row, shot, score)
            for score in ("miou", "fb_iou")
            for shot in row[0].shots
        }
        for name, row in rows.items()
    }
    spread = "seeds" if any(len(row) > 1 for row in rows.values()) else "lists of episodes"
    sections = [scores_section(scores, spread=spread)]
    if baseline is not None:
        others = {name: subtract_baseline(row, rows[baseline], shots[0]) for name, row in rows.items()}
        del others[baseline]
        sections.append(differences_section(others, baseline=baseline, spread=spread, score=f"mIoU, {shots[0]}-shot"))
    by_class = {name: pool_classes(row, shots[0]) for name, row in rows.items()}
    sections.append(classes_section(by_class, episodes=_count_episodes(next(iter(rows.values())), shots[0])))
    sections.append(making_section(_gather_facts(rows), commands=commands))
    sections.append(settings_section({name: _list_settings(row[0]) for name, row in rows.items()}))
    return tuple(sections)


def list_scores(results: Sequence[Result], shot: int, score: ScoreName = "miou") -> list[float]:
    """List a score in per cent: the mean over its lists for each result, or each list of a single result."""
    if len(results) > 1:
        return [result.summarise(shot, score).mean for result in results]
    return [getattr(run.scores, score) for run in _runs(results[0], shot)]


def subtract_baseline(
    results: Sequence[Result], baseline: Sequence[Result], shot: int, score: ScoreName = "miou"
) -> list[float]:
    """List by how many points a network is above another, as `list_scores` lists its scores.

    Raises:
        ValueError: The two have not as many results, or were not evaluated on the same episodes.
    """
    pairs = list(zip(results, baseline, strict=False))
    hashes = [[[run.episode_hash for run in _runs(result, shot)] for result in pair] for pair in pairs]
    if len(results) != len(baseline) or any(one != other for one, other in hashes):
        raise ValueError(
            f"Networks must have been evaluated on the same episodes, seed by seed, to be compared. Found "
            f"{len(results)} and {len(baseline)} results of other lists or another number. Evaluate both with one "
            f"configuration."
        )
    scores = list_scores(results, shot, score), list_scores(baseline, shot, score)
    return [one - other for one, other in zip(*scores, strict=True)]


def pool_classes(results: Sequence[Result], shot: int) -> dict[str, float]:
    """Give the IoU of each class by name, in per cent.

    Pixels of all lists of a result are added up; IoUs are averaged over the results that scored the class, which need
    not be of one fold.
    """
    found: dict[str, list[float]] = {}
    for result in results:
        for name, one in _pool_classes(result, shot).items():
            found.setdefault(name, []).append(one)
    return {name: fmean(values) for name, values in found.items()}


def paper_section(
    table: PaperTable, ours: Mapping[str, Mapping[int, Sequence[float]]], *, folds: Sequence[int] | None = None
) -> Section:
    """Show a table of the paper, our scores beside what it prints.

    Args:
        table: The table.
        ours: For each row by name and each number of shots, our score in per cent, one for each seed. Rows and shots
            that were not run are left out.
        folds: Which folds ours are of; None for all. The paper's mean stands beside a mean over all folds only.
    """
    columns = ["network"]
    for shot in table.shots:
        columns += [f"ours, {shot}-shot", f"paper, {shot}-shot", "difference"]
    rows: list[tuple[Cell, ...]] = []
    for row in table.rows:
        cells: list[Cell] = [row.name]
        for shot in table.shots:
            found, printed = ours.get(row.name, {}).get(shot), row.paper.get(shot)
            mean = None if printed is None else printed.over(folds)
            cells += [format_spread(found) if found else None, mean]
            cells.append(f"{fmean(found) - mean:+.1f}" if found and mean is not None else None)
        rows.append(tuple(cells))
    caption = f"{SCORE_NAMES[table.score]} in per cent, mean ± standard deviation over seeds where there are several."
    return Section(f"Table {table.number}: {table.caption}", (Table(tuple(columns), tuple(rows), caption),))


def _runs(result: Result, shot: int) -> list[Evaluation]:
    return [run for run in result.runs if run.shot == shot]


def _pool_classes(result: Result, shot: int) -> dict[str, float]:
    names, runs = _name_classes(result), _runs(result, shot)
    return {
        names.get(class_id, str(class_id)): 100
        * sum(run.scores.class_intersection[class_id] for run in runs)
        / max(1, sum(run.scores.class_union[class_id] for run in runs))
        for class_id in runs[0].scores.class_iou
    }


def _count_episodes(results: Sequence[Result], shot: int) -> dict[str, int]:
    """Count the episodes of each class in all lists of one result."""
    counts: dict[str, int] = {}
    for result in reversed(results):
        names, runs = _name_classes(result), _runs(result, shot)
        for class_id in runs[0].scores.class_iou:
            counts[names.get(class_id, str(class_id))] = sum(run.scores.class_episodes[class_id] for run in runs)
    return counts


def _name_classes(result: Result) -> dict[int, str]:
    named = {**result.data["held_in"], **result.data["held_out"]}
    return {int(class_id): name for class_id, name in named.items()}


def _gather_facts(rows: Rows) -> dict[str, Cell]:
    """List what a reader must know before scores are believed; where results differ, every value."""
    facts = [_list_facts(result) for row in rows.values() for result in row]
    gathered: dict[str, Cell] = {}
    for name in facts[0]:
        values = (one[name] for one in facts)
        gathered[name] = "; ".join(dict.fromkeys(value for value in values if value is not None)) or None
    seconds = sum(run.seconds for row in rows.values() for result in row for run in result.runs)
    return {**gathered, "evaluation took": f"{seconds / 60:.1f} minutes"}


def _list_facts(result: Result) -> dict[str, str | None]:
    protocol, data, environment = result.protocol, result.data, result.environment
    lists = protocol["seeds"]
    drawn = "" if lists is None else f", drawn by seeds {', '.join(str(seed) for seed in lists)}"
    tested = data["lists"]["val"]
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items() if version)
    return {
        "data": f"{data['type']}, fold {data['fold']}: {len(data['images_of'])} classes, {tested['images']} images, "
        f"lists sha256 {tested['sha256'][:12]}",
        "episodes": f"{len(result.runs[0].episodes)} in each of {len(_runs(result, result.shots[0]))} lists{drawn}",
        "counted at": str(protocol["resolution"]),
        "unknown pixels": protocol["void"],
        "supports labelled by": protocol["annotation"]["kind"],
        "held-out objects in training": result.origin.convention,
        "weights": result.origin.selection,
        "commit": environment["commit"],
        "device": f"{environment['device']}, {environment['threads']} threads",
        "versions": versions,
    }


def _list_settings(result: Result) -> dict[str, Any]:
    """Take everything that a result depends on; the classes stand in their own section."""
    data = {name: value for name, value in result.data.items() if name not in ("held_in", "held_out", "images_of")}
    return {
        "evaluation": result.protocol,
        "data": data,
        "network": result.network,
        "training": result.origin.settings,
        "environment": result.environment,
    }
