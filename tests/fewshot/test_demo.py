"""The demonstration: two networks that differ in one field, on the same backbone and the same episodes."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot import records
from fewshot.checkpoint import load_checkpoint
from fewshot.cli import main
from fewshot.demo import BASELINE, PAGE, PARTIAL, WEIGHTS, configure_demo, run_demo
from fewshot.evaluation.results import Result
from fewshot.records import choose_tasks
from fewshot.run_config import RunConfig
from tests.fewshot.run_cases import make_run


@dataclass(frozen=True)
class Demo:
    config: RunConfig
    results: dict[str, Result]


@pytest.fixture(scope="module")
def demo(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    config = make_run(tmp_path_factory.mktemp("demo"), tiny_cache, multi_task=True)
    return Demo(config, run_demo(config, commands=["fewshot demo"]))


def scores_of(results: dict[str, Result]) -> dict[str, list[object]]:
    return {name: [(run.scores, run.episodes) for run in result.runs] for name, result in results.items()}


def test_networks_differ_in_the_transport_map_and_their_folders_only(demo: Demo) -> None:
    configs = configure_demo(demo.config)
    assert list(configs) == [BASELINE, PARTIAL]
    assert [config.network.transport for config in configs.values()] == ["none", "partial"]
    assert [config.output.name for config in configs.values()] == ["prototype-only", "partial-transport"]
    same = [
        replace(config, output=demo.config.output, network=replace(config.network, transport="none"))
        for config in configs.values()
    ]
    assert same == [demo.config] * 2


def test_both_are_scored_on_the_same_episodes_of_new_classes_with_one_backbone(demo: Demo) -> None:
    first, second = demo.results.values()
    assert [run.episode_hash for run in first.runs] == [run.episode_hash for run in second.runs]
    assert [tuple(run.scores.class_iou) for run in first.runs] == [(4, 5), (4, 5)]
    assert first.network["backbone_sha256"] == second.network["backbone_sha256"]
    assert first.network["weights_sha256"] != second.network["weights_sha256"]


def test_equal_seeds_give_equal_scores(demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "PICTURED_TASKS", 1)
    again = run_demo(replace(demo.config, output=tmp_path / "demo", cache=tmp_path / "cache"))
    assert scores_of(again) == scores_of(demo.results)


def test_a_demonstration_that_is_there_is_not_made_again(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "PICTURED_TASKS", 1)
    monkeypatch.setattr(records, "run", lambda *_: pytest.fail("a finished run was made again"))
    assert run_demo(demo.config, commands=["fewshot demo"]) == demo.results


def test_the_page_compares_both_and_says_how_to_try_it(demo: Demo) -> None:
    page = (demo.config.output / PAGE).read_text(encoding="utf-8")
    assert page.count(BASELINE) > 1
    assert page.count(PARTIAL) > 1
    assert f"fewshot predict --checkpoint {WEIGHTS} --support example/support.png" in page
    assert "They differ in the transport map alone." in page


def test_the_command_on_the_page_segments_the_example(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(demo.config.output)
    words = ["predict", "--checkpoint", WEIGHTS, "--support", "example/support.png", "example/support_mask.png"]
    main([*words, "--query", "example/query.png", "--output", "prediction"])
    with Image.open("prediction/mask.png") as mask, Image.open("example/query_mask.png") as truth:
        assert mask.size == truth.size == (64, 64)
        assert set(np.unique(np.asarray(mask))) <= {0, 255}


def test_the_example_is_a_task_of_the_test(demo: Demo) -> None:
    _, pool, specs = choose_tasks(demo.config)
    query = demo.config.data.read(pool.entries[specs[0].query])
    with Image.open(demo.config.output / "example" / "query.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), query.image.permute(1, 2, 0).numpy())
    with Image.open(demo.config.output / "example" / "query_mask.png") as mask:
        np.testing.assert_array_equal(np.asarray(mask) == 1, (query.labels == specs[0].class_id).numpy())


def test_the_weights_in_the_folder_are_those_of_partial_transport(demo: Demo) -> None:
    checkpoint = load_checkpoint(demo.config.output / WEIGHTS)
    assert checkpoint.model.config.transport == "partial"
    assert checkpoint.trained_on == ("class 1", "class 2", "class 3")
