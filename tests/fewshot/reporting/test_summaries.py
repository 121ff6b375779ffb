from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest

from fewshot.data.folder import Folder
from fewshot.evaluation.evaluate import evaluate_fold
from fewshot.evaluation.results import Evaluation, Origin, Result
from fewshot.model.cmnet import CMNet
from fewshot.paper import PaperTable, Printed, TableRow
from fewshot.reporting.report import Section, Table
from fewshot.reporting.summaries import list_scores, paper_section, pool_classes, result_sections, subtract_baseline
from tests.fewshot.photographs import CONFIG

ORIGIN = Origin("last", "keep", {"seed": 3, "training": {"steps": 5}})


@pytest.fixture(scope="module")
def result(network: CMNet, photographs: Folder) -> Result:
    return evaluate_fold(network, photographs, 0, CONFIG, origin=ORIGIN)


def shift(result: Result, points: float) -> Result:
    """The same result, had every class had an IoU of so many points more."""

    def move(run: Evaluation) -> Evaluation:
        counts = {
            class_id: round(run.scores.class_intersection[class_id] + points / 100 * union)
            for class_id, union in run.scores.class_union.items()
        }
        return replace(run, scores=replace(run.scores, miou=run.scores.miou + points, class_intersection=counts))

    return replace(result, runs=tuple(move(run) for run in result.runs))


def find_table(sections: tuple[Section, ...], title: str) -> Table:
    (section,) = (one for one in sections if one.title == title)
    return next(part for part in section.parts if isinstance(part, Table))


def test_scores_of_one_result_are_those_of_its_lists(result: Result) -> None:
    assert list_scores([result], 2) == [run.scores.miou for run in result.runs if run.shot == 2]
    assert list_scores([result], 1, "fb_iou") == [run.scores.fb_iou for run in result.runs if run.shot == 1]


def test_scores_of_several_results_are_their_means_over_lists(result: Result) -> None:
    mean = fmean(run.scores.miou for run in result.runs if run.shot == 1)
    assert list_scores([result, shift(result, 2.0)], 1) == pytest.approx([mean, mean + 2.0])


def test_differences_are_taken_seed_by_seed(result: Result) -> None:
    baseline = [result, shift(result, 5.0)]
    better = [shift(result, 1.0), shift(result, 8.0)]
    assert subtract_baseline(better, baseline, 1) == pytest.approx([1.0, 3.0])


def test_networks_that_saw_other_episodes_are_not_compared(result: Result) -> None:
    runs = tuple(replace(run, episode_hash="other") for run in result.runs)
    message = r"Found 1 and 1 results of other lists or another number\. Evaluate both with one configuration"
    with pytest.raises(ValueError, match=message):
        subtract_baseline([replace(result, runs=runs)], [result], 1)
    with pytest.raises(ValueError, match=r"Found 2 and 1 results"):
        subtract_baseline([result, result], [result], 1)


def test_classes_have_their_names_and_the_pixels_of_all_lists(result: Result) -> None:
    runs = [run.scores for run in result.runs if run.shot == 1]
    red = 100 * sum(one.class_intersection[1] for one in runs) / sum(one.class_union[1] for one in runs)
    found = pool_classes([result], 1)
    assert list(found) == ["red", "green"]
    assert found["red"] == pytest.approx(red)
    assert pool_classes([result, shift(result, 10.0)], 1)["red"] == pytest.approx(red + 5.0, abs=0.01)


def test_classes_of_several_folds_stand_together(result: Result, network: CMNet, photographs: Folder) -> None:
    other = evaluate_fold(network, photographs, 1, CONFIG, origin=ORIGIN)
    assert list(pool_classes([result, other], 1)) == ["red", "green", "blue", "grey"]
    sections = result_sections({"CMNet": [result, other]})
    assert [row[0] for row in find_table(sections, "Classes").rows] == ["red", "green", "blue", "grey"]
    assert all(row[-1] for row in find_table(sections, "Classes").rows)


def test_a_result_becomes_scores_classes_circumstances_and_settings(result: Result) -> None:
    sections = result_sections({"CMNet": [result]}, commands=["fewshot evaluate"])
    assert [section.title for section in sections] == ["Scores", "Classes", "How it was made", "Settings"]
    scores = find_table(sections, "Scores")
    assert scores.columns == ("network", "mIoU, 1-shot", "mIoU, 2-shot", "FB-IoU, 1-shot", "FB-IoU, 2-shot")
    assert "over lists of episodes" in scores.caption
    facts = {row[0]: row[1] for row in find_table(sections, "How it was made").rows}
    assert facts["unknown pixels"] == "ignore"
    assert facts["counted at"] == "original"
    assert facts["held-out objects in training"] == "keep"
    assert facts["weights"] == "last"
    assert facts["episodes"] == "11 in each of 2 lists, drawn by seeds 7, 8"
    assert str(facts["data"]).startswith("Folder, fold 0: 2 classes")
    settings = {row[0]: row[1] for row in find_table(sections, "Settings").rows}
    assert settings["training.training.steps"] == "5"
    assert settings["network.weights_sha256"] == result.network["weights_sha256"]


def test_episodes_that_were_given_have_no_seeds(result: Result) -> None:
    given = {**result.protocol, **dict.fromkeys(("episodes", "seeds", "order"))}
    sections = result_sections({"CMNet": [replace(result, protocol=given)]})
    facts = {row[0]: row[1] for row in find_table(sections, "How it was made").rows}
    assert facts["episodes"] == "11 in each of 2 lists"


def test_networks_are_compared_with_the_baseline(result: Result) -> None:
    rows = {name: [shift(result, points)] for name, points in {"none": 0.0, "full": 1.0, "partial": 3.0}.items()}
    sections = result_sections(rows, baseline="none")
    table = find_table(sections, "Differences from none")
    assert [row[:2] for row in table.rows] == [("full", pytest.approx(1.0)), ("partial", pytest.approx(3.0))]
    assert "mIoU, 1-shot" in table.caption


@pytest.mark.parametrize("rows", [{}, {"CMNet": []}], ids=str)
def test_networks_without_results_are_refused(rows: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"Found \{.*\}\. Leave out networks that were not evaluated"):
        result_sections(rows)


def test_the_papers_numbers_stand_beside_ours() -> None:
    rows = (
        TableRow("baseline", "rows/baseline", {1: Printed(59.1), 5: Printed(60.0)}),
        TableRow("w/ partial", "rows/partial", {1: Printed(59.5)}),
        TableRow("w/ prior", "rows/prior", {1: Printed(60.2)}),
    )
    table = PaperTable("III", "Transport and prior", "miou", "pascal", rows)
    section = paper_section(table, {"baseline": {1: [50.0, 52.0], 5: [60.5]}, "w/ partial": {1: [60.0]}})
    assert section.title == "Table III: Transport and prior"
    (found,) = section.parts
    assert isinstance(found, Table)
    assert found.rows == (
        ("baseline", "51.0 ± 1.4", 59.1, "-8.1", "60.5", 60.0, "+0.5"),
        ("w/ partial", "60.0", 59.5, "+0.5", None, None, None),
        ("w/ prior", None, 60.2, None, None, None, None),
    )
