import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fewshot.data.folder import Folder
from fewshot.data.storage import DamagedFileError
from fewshot.evaluation.description import describe_network
from fewshot.evaluation.evaluate import evaluate_fold
from fewshot.evaluation.protocol import list_episodes, open_pool
from fewshot.evaluation.results import SCHEMA, EpisodeResult, Origin, Result, read_result, write_result
from fewshot.model.cmnet import CMNet
from tests.fewshot.photographs import CONFIG

ORIGIN = Origin("last", "keep", {"seed": 3, "training": {"steps": 5}})


@pytest.fixture(scope="module")
def result(network: CMNet, photographs: Folder) -> Result:
    return evaluate_fold(network, photographs, 0, CONFIG, origin=ORIGIN)


@pytest.fixture
def path(result: Result, tmp_path: Path) -> Path:
    write_result(tmp_path / "runs" / "result.json", result)
    return tmp_path / "runs" / "result.json"


def test_what_is_read_is_what_was_written(path: Path, result: Result) -> None:
    assert read_result(path) == result


def test_file_names_every_choice_behind_the_score(path: Path, photographs: Folder, network: CMNet) -> None:
    content = json.loads(path.read_text("utf-8"))
    protocol, data, environment = content["protocol"], content["data"], content["environment"]
    assert protocol["void"] == "ignore"
    assert protocol["resolution"] == "original"
    assert protocol["order"] == "walk"
    assert protocol["seeds"] == [7, 8]
    assert protocol["annotation"]["kind"] == "mask"
    assert protocol["fit"] == {"size": 64, "mode": "pad"}
    assert data["type"] == "Folder"
    assert data["fields"]["root"] == str(photographs.root)
    assert data["lists"]["val"]["sha256"] == photographs.load_index(0).val.digest
    assert (data["fold"], data["held_out"]) == (0, {"1": "red", "2": "green"})
    assert data["rule"] == {"min_pixels": 1, "legacy_class_draw": False}
    assert content["origin"] == {"selection": "last", "convention": "keep", "settings": dict(ORIGIN.settings)}
    assert content["network"] == describe_network(network)
    assert {"python", "torch", "lightning", "numpy", "partialot"} <= environment["versions"].keys()
    assert {"commit", "platform", "processor", "cores", "threads", "device"} <= environment.keys()


def test_file_holds_the_counts_of_every_class_and_episode(path: Path, result: Result, photographs: Folder) -> None:
    runs = json.loads(path.read_text("utf-8"))["runs"]
    pool = open_pool(photographs, photographs.load_index(0), 0, CONFIG)
    for run, evaluation, episodes in zip(runs, result.runs, list_episodes(pool, CONFIG), strict=True):
        assert run["episode_hash"] == episodes.digest
        assert run["seconds"] > 0
        for class_id in (1, 2):
            of_class = [one for one in run["episodes"] if one[0] == class_id]
            assert run["scores"]["class_intersection"][str(class_id)] == sum(one[1] for one in of_class)
            assert run["scores"]["class_union"][str(class_id)] == sum(one[2] for one in of_class)
            assert evaluation.scores.class_iou[class_id] == run["scores"]["class_iou"][str(class_id)]


def test_summary_stands_on_top(path: Path, result: Result) -> None:
    content = json.loads(path.read_text("utf-8"))
    assert list(content)[:2] == ["schema", "summary"]
    for shot in (1, 2):
        for score in ("miou", "fb_iou", "episode_iou"):
            spread = result.summarise(shot, score)
            assert content["summary"][str(shot)][score] == {"mean": spread.mean, "std": spread.std}


def test_mean_and_deviation_are_over_the_lists_of_a_number_of_shots(result: Result) -> None:
    first, second = (run.scores.miou for run in result.runs if run.shot == 2)
    spread = result.summarise(2)
    assert spread.mean == pytest.approx((first + second) / 2)
    assert spread.std == pytest.approx(abs(first - second) / 2**0.5)
    assert replace(result, runs=result.runs[:1]).summarise(1).std is None, "one list has no deviation"


def test_shots_that_were_not_evaluated_have_no_score(result: Result) -> None:
    with pytest.raises(ValueError, match=r"Found 5, which is none of \(1, 2\)\. Evaluate with it too"):
        result.summarise(5)


def test_iou_of_an_episode_is_a_percentage() -> None:
    assert EpisodeResult(1, 1, 4).iou == 25.0
    assert EpisodeResult(1, 0, 0).iou == 0.0


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace('"miou"', '"miuo"', 1), r"Found other content in .*result.json\. Evaluate again"),
        (lambda text: text[: len(text) // 2], r"Found no result or half of one \(JSONDecodeError"),
        (lambda text: "[1, 2]", r"Found no result or half of one \(TypeError"),
        (lambda text: "{}", r"Found no result or half of one \(KeyError"),
    ],
    ids=["altered", "cut short", "a list", "empty"],
)
def test_damaged_file_is_refused(damage: Callable[[str], str], message: str, path: Path) -> None:
    path.write_text(damage(path.read_text("utf-8")), "utf-8")
    with pytest.raises(DamagedFileError, match=message):
        read_result(path)


def test_other_schema_is_refused(path: Path) -> None:
    path.write_text(path.read_text("utf-8").replace(f'"schema": {SCHEMA}', '"schema": 99', 1), "utf-8")
    with pytest.raises(ValueError, match=rf"of schema {SCHEMA}\. Found schema 99 in .*\. Read it by the version"):
        read_result(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Found nothing at .*none\.json\. Write it by `fewshot evaluate`"):
        read_result(tmp_path / "none.json")
