import json
from dataclasses import replace
from pathlib import Path

import pytest

from fewshot.checkpoint import load_checkpoint
from fewshot.demo import BASELINE, PARTIAL, DemoConfig, Stopwatch, checkpoint_path, configure_heads, run_demo
from fewshot.reporting.report import Run


def scores_of(run: Run) -> dict[str, dict[int, object]]:
    return {
        name: {shot: evaluation.scores for shot, evaluation in row.evaluations.items()}
        for name, row in run.rows.items()
    }


def test_same_seed_gives_bit_equal_losses_and_scores(tiny_demo: DemoConfig, tiny_run: Run, tmp_path: Path) -> None:
    again = run_demo(replace(tiny_demo, output=tmp_path, cache=tmp_path / "cache"))
    assert again.pretraining_losses == tiny_run.pretraining_losses
    assert {name: row.losses for name, row in again.rows.items()} == {
        name: row.losses for name, row in tiny_run.rows.items()
    }
    assert scores_of(again) == scores_of(tiny_run)


def test_run_that_reuses_the_cache_gives_the_same_scores(tiny_demo: DemoConfig, tiny_run: Run, tmp_path: Path) -> None:
    again = run_demo(replace(tiny_demo, output=tmp_path, cache=tiny_demo.output / "cache"))
    assert not again.pretraining_losses, "the supervised stage was not run again"
    assert scores_of(again) == scores_of(tiny_run)


def test_both_heads_are_evaluated_on_the_same_episodes(tiny_run: Run) -> None:
    hashes = {
        name: [evaluation.episode_hash for evaluation in row.evaluations.values()]
        for name, row in tiny_run.rows.items()
    }
    assert set(hashes) == {BASELINE, PARTIAL}
    assert hashes[BASELINE] == hashes[PARTIAL]


def test_evaluation_is_on_novel_classes_only(tiny_run: Run) -> None:
    for row in tiny_run.rows.values():
        assert {shot: tuple(one.scores.class_iou) for shot, one in row.evaluations.items()} == {1: (4, 5), 2: (4, 5)}


def test_heads_differ_in_the_transport_map_only(tiny_demo: DemoConfig) -> None:
    heads = configure_heads(tiny_demo)
    assert replace(heads[PARTIAL], transport="none") == heads[BASELINE]
    assert heads[PARTIAL].transport == "partial"


def test_checkpoints_hold_both_heads_on_one_backbone(tiny_demo: DemoConfig, tiny_run: Run) -> None:
    models = [load_checkpoint(checkpoint_path(tiny_demo.output, name)).model for name in tiny_run.rows]
    assert [model.config.transport for model in models] == ["none", "partial"]
    weights = [model.backbone.state_dict()["conv1.weight"] for model in models]
    assert weights[0].equal(weights[1])


def test_settings_of_the_result_are_those_of_the_run(tiny_demo: DemoConfig, tiny_run: Run) -> None:
    assert tiny_run.settings["training"]["steps"] == tiny_demo.training.steps
    assert tiny_run.settings["data"]["novel_classes"] == 2
    assert json.loads(json.dumps(tiny_run.settings)) == tiny_run.settings


def test_every_stage_is_timed(tiny_run: Run) -> None:
    stages = ["images", "supervised stage", "features"]
    stages += [f"{stage}, {name}" for name in (BASELINE, PARTIAL) for stage in ("training", "evaluation")]
    assert list(tiny_run.durations) == stages
    assert all(duration.wall > 0 for duration in tiny_run.durations.values())


def test_stopwatch_counts_processor_time_apart_from_the_clock() -> None:
    watch = Stopwatch()
    with watch.measure("work"):
        sum(range(3_000_000))
    assert 0 < watch.durations["work"].processor <= watch.durations["work"].wall + 0.05


def test_too_few_images_for_the_shots_are_refused_before_anything_is_trained(
    tiny_demo: DemoConfig, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"at least `shot \+ 1 = 21` images .* Found \d+ for class 4\. Lower `shot`"):
        run_demo(replace(tiny_demo, output=tmp_path, cache=tiny_demo.output / "cache", shots=(20,)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["episodes", "width", "workers"])
def test_settings_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"`{name}` must be positive\. Found `{name} = 0`\. Pass"):
        replace(DemoConfig(), **{name: 0})


@pytest.mark.parametrize("shots", [(), (0, 1)], ids=str)
def test_shots_must_be_positive_numbers(shots: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"Found `shots = .*`\. Pass 1 for one-shot evaluation"):
        DemoConfig(shots=shots)
