"""The folder of a run: what lies in it, and what becomes of a run that was finished, interrupted or another one."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from fewshot import records
from fewshot.data.boxes import SupportAnnotation
from fewshot.data.synthetic import Synthetic
from fewshot.evaluation.protocol import list_episodes
from fewshot.evaluation.results import Result, read_result
from fewshot.records import (
    REPORT,
    RESULT,
    choose_tasks,
    picture_networks,
    record_run,
    record_score,
    trained_weights,
)
from fewshot.run_config import RunConfig
from fewshot.runs import TRAINING, build_network
from fewshot.training.batches import FeatureBatches
from tests.fewshot import run_cases
from tests.fewshot.run_cases import LIGHT, make_run
from tests.fewshot.training_cases import CPU, TINY


@pytest.fixture(scope="module")
def config(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return make_run(
        tmp_path_factory.mktemp("runs") / "run", tiny_cache, network=replace(LIGHT, transport="partial", prior=True)
    )


@pytest.fixture(scope="module")
def result(config: RunConfig) -> Result:
    return record_run(config, name="tiny network", commands=["fewshot train --config=tiny"])


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what most of the time of a small run goes into."""
    monkeypatch.setattr(records, "picture_networks", lambda *_: ())


def strike(*_: object, **__: object) -> NoReturn:
    raise KeyboardInterrupt


def interrupt(what: str, config: RunConfig) -> None:
    """Make a run, and stop it when it calls a function of that name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(what, strike)
        with pytest.raises(KeyboardInterrupt):
            record_run(config, name="tiny")


def scores_of(result: Result) -> list[object]:
    return [(run.scores, run.episodes, run.episode_hash) for run in result.runs]


def test_a_run_leaves_report_result_weights_and_logs(config: RunConfig, result: Result) -> None:
    assert sorted(path.name for path in config.output.iterdir()) == [REPORT, RESULT, TRAINING]
    assert read_result(config.output / RESULT) == result
    assert {"last.safetensors", "logs", "resume.ckpt"} <= {path.name for path in (config.output / TRAINING).iterdir()}


def test_the_report_shows_everything_and_needs_no_other_file(config: RunConfig, result: Result) -> None:
    page = (config.output / REPORT).read_text(encoding="utf-8")
    sections = ("Scores", "Training", "Segmentations", "Matching", "Classes", "How it was made", "Settings")
    places = [page.index(f">{title}</") for title in sections]
    assert places == sorted(places)
    assert f"{result.runs[0].scores.miou:.1f}" in page
    assert "fewshot train --config=tiny" in page
    assert "tiny network, fold 0" in page
    assert "Scored on classes never trained on: class 4, class 5." in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)


def test_a_network_without_transport_has_no_flows_to_show(config: RunConfig) -> None:
    plain = replace(config, network=LIGHT)
    networks = {"plain": build_network(plain, plain.data.load_index(0))}
    assert [section.title for section in picture_networks(networks, plain)] == ["Segmentations"]


def test_a_finished_run_is_read_and_not_made_again(
    config: RunConfig, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "run", strike)
    assert record_run(config, name="tiny") == result


@pytest.mark.parametrize(
    "changes",
    [
        {"hardware": replace(CPU, workers=3, accelerator="auto")},
        {"evaluation": replace(run_cases.EVALUATION, workers=2)},
        {"training": replace(run_cases.TRAINING, checkpoint_every=1)},
        {"data": Synthetic(TINY, workers=2)},
    ],
)
def test_a_finished_run_is_found_whatever_it_was_made_on(
    changes: dict[str, Any], config: RunConfig, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "run", strike)
    assert record_run(replace(config, **changes), name="tiny") == result


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"seed": 2}, "seed"),
        ({"hardware": replace(CPU, devices=2)}, r"hardware\.devices"),
        ({"hardware": replace(CPU, precision="bf16")}, r"hardware\.precision"),
        ({"evaluation": replace(run_cases.EVALUATION, precision="bf16")}, r"evaluation\.precision"),
        ({"data": Synthetic(replace(TINY, seed=1))}, r"data\.fields\.recipe\.seed"),
    ],
)
def test_a_finished_run_of_another_configuration_is_refused(
    changes: dict[str, Any], name: str, config: RunConfig, result: Result
) -> None:
    assert result
    message = rf"Found the result of another one in .*result\.json, with another `{name}`\. Choose another `output`, or"
    with pytest.raises(ValueError, match=message):
        record_run(replace(config, **changes), name="tiny")


@pytest.mark.usefixtures("without_pictures")
def test_a_run_that_was_trained_but_not_scored_is_only_scored(
    config: RunConfig, result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted = replace(config, output=tmp_path)
    interrupt("fewshot.runs.evaluate_fold", interrupted)
    assert not (tmp_path / RESULT).exists()
    monkeypatch.setattr(FeatureBatches, "__getitem__", strike)
    assert scores_of(record_run(interrupted, name="tiny")) == scores_of(result)


@pytest.mark.usefixtures("without_pictures")
def test_a_report_that_fails_costs_no_result_and_is_made_by_the_same_command(
    config: RunConfig, result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted = replace(config, output=tmp_path)
    interrupt("fewshot.records.write_report", interrupted)
    assert not (tmp_path / REPORT).exists()
    written = (tmp_path / RESULT).stat().st_mtime_ns
    monkeypatch.setattr("fewshot.runs.evaluate_fold", strike)
    monkeypatch.setattr(FeatureBatches, "__getitem__", strike)
    assert scores_of(record_run(interrupted, name="tiny")) == scores_of(result)
    assert (tmp_path / RESULT).stat().st_mtime_ns == written
    assert ">Training</" in (tmp_path / REPORT).read_text(encoding="utf-8")


@pytest.mark.usefixtures("without_pictures")
def test_a_run_goes_on_without_its_cache(config: RunConfig, tmp_path: Path) -> None:
    """Features, backbones and pictures are made again, to the same bits."""
    cache = tmp_path / "cache"
    asked = replace(config, data=Synthetic(TINY, cache=cache), cache=cache, multi_task=True)
    whole = record_run(replace(asked, output=tmp_path / "whole"), name="tiny")
    interrupt("fewshot.runs.evaluate_fold", replace(asked, output=tmp_path / "half"))
    shutil.rmtree(cache)
    # Pictures that the process has in memory do not count.
    again = record_run(replace(asked, data=Synthetic(TINY, cache=cache), output=tmp_path / "half"), name="tiny")
    assert scores_of(again) == scores_of(whole)
    assert again.network["weights_sha256"] == whole.network["weights_sha256"]
    assert list(cache.glob("features-*"))


def test_a_result_alone_is_read_and_nothing_trained_for_its_report(
    config: RunConfig, result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copyfile(config.output / RESULT, tmp_path / RESULT)
    monkeypatch.setattr(records, "take_up", strike)
    assert record_run(replace(config, output=tmp_path), name="tiny") == result
    assert "No report:" in caplog.text


def test_an_interrupted_run_of_another_configuration_is_refused(config: RunConfig, tmp_path: Path) -> None:
    interrupted = replace(config, output=tmp_path)
    interrupt("fewshot.runs.evaluate_fold", interrupted)
    faster = replace(run_cases.TRAINING, learning_rate=0.06)
    with pytest.raises(ValueError, match=r"learning_rate"):
        record_run(replace(interrupted, training=faster), name="tiny")


def test_the_first_episode_of_each_class_is_pictured(config: RunConfig) -> None:
    index, pool, chosen = choose_tasks(config)
    specs = list_episodes(pool, config.evaluation)[0].specs
    assert [next(spec for spec in specs if spec.class_id == one.class_id) for one in chosen] == list(chosen)
    assert sorted(index.classes[spec.class_id - 1] for spec in chosen) == ["class 4", "class 5"]


def test_no_more_tasks_are_pictured_than_fit_on_a_page(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "PICTURED_TASKS", 1)
    assert len(choose_tasks(config)[2]) == 1


@pytest.mark.parametrize(("select", "name"), [("last", "last"), ("base_val", "best"), ("test", "best")])
def test_weights_of_a_run_are_those_that_were_scored(config: RunConfig, select: str, name: str) -> None:
    training = replace(run_cases.TRAINING, select=select)  # pyright: ignore[reportArgumentType]
    weights = trained_weights(replace(config, training=training))
    assert weights == config.output / TRAINING / f"{name}.safetensors"


def test_a_trained_network_is_scored_by_boxes_without_another_training(
    config: RunConfig, result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "run", strike)
    monkeypatch.setattr(records, "PICTURED_TASKS", 1)
    boxes = replace(config.evaluation, annotation=SupportAnnotation("box"))
    asked = replace(config, evaluation=boxes, output=tmp_path / "boxes")
    scored = record_score(asked, config, name="tiny network")
    assert scored.network["weights_sha256"] == result.network["weights_sha256"]
    assert [run.episode_hash for run in scored.runs] == [run.episode_hash for run in result.runs]
    assert (scored.protocol["annotation"]["kind"], result.protocol["annotation"]["kind"]) == ("box", "mask")
    (asked.output / REPORT).unlink()
    monkeypatch.setattr(records, "evaluate_fold", strike)
    assert record_score(asked, config, name="tiny network") == scored
    assert (asked.output / REPORT).is_file(), "made again of the result that is there"


def test_a_network_of_another_training_is_not_scored_in_its_place(
    config: RunConfig, result: Result, tmp_path: Path
) -> None:
    other = replace(config, seed=config.seed + 1, output=tmp_path)
    with pytest.raises(ValueError, match=r"in `evaluation` alone\. Found more differences .* Train a network for it"):
        record_score(other, config, name="tiny network")


def test_a_network_must_be_trained_before_it_is_scored_in_another_way(config: RunConfig, tmp_path: Path) -> None:
    trained = replace(config, output=tmp_path / "trained")
    with pytest.raises(FileNotFoundError, match=r"must name a checkpoint\. Found nothing at .*trained.*last"):
        record_score(replace(trained, output=tmp_path / "boxes"), trained, name="tiny network")
