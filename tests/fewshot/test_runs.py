"""One configuration, one run: what it depends on, what it shares with others, and what it refuses to begin with."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from fewshot.checkpoint import load_checkpoint
from fewshot.data.augmentation import Augmentation
from fewshot.data.folder import Folder
from fewshot.data.fss1000 import FSS1000
from fewshot.evaluation.evaluate import PreparedEvaluation, evaluate, prepare_evaluation
from fewshot.evaluation.features import FeatureStore
from fewshot.evaluation.protocol import EvaluationConfig, list_episodes, open_pool
from fewshot.evaluation.results import Evaluation
from fewshot.run_config import RunConfig
from fewshot.runs import TRAINING, Run, build_network, check_episodes, configure_validation, gather_batches, run
from fewshot.training.batches import FeatureBatches, PixelBatches
from tests.fewshot import run_cases
from tests.fewshot.data import fss_tree
from tests.fewshot.data.tiles import RULE, Tiles
from tests.fewshot.run_cases import EVALUATION, LIGHT, backbone_of, list_differing, make_run


@pytest.fixture(scope="module")
def config(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return make_run(tmp_path_factory.mktemp("run"), tiny_cache)


@pytest.fixture(scope="module")
def finished(config: RunConfig) -> Run:
    return run(config)


def test_equal_seeds_give_bit_equal_losses_weights_and_scores(config: RunConfig, finished: Run, tmp_path: Path) -> None:
    torch.manual_seed(99)
    again = run(replace(config, output=tmp_path / "again", cache=tmp_path / "cache"))
    assert again.trained.losses == finished.trained.losses
    assert list_differing(again.network.state_dict(), finished.network.state_dict()) == []
    assert [one.scores for one in again.result.runs] == [one.scores for one in finished.result.runs]
    assert [one.episodes for one in again.result.runs] == [one.episodes for one in finished.result.runs]


def test_another_seed_trains_another_head_and_is_scored_on_the_same_episodes(
    config: RunConfig, finished: Run, tmp_path: Path
) -> None:
    other = run(replace(config, output=tmp_path, seed=2))
    assert other.trained.losses != finished.trained.losses
    assert list_differing(other.network.state_dict(), finished.network.state_dict())
    assert [one.episode_hash for one in other.result.runs] == [one.episode_hash for one in finished.result.runs]
    assert backbone_of(other.network) == backbone_of(finished.network), "seeds share a backbone"


def test_rows_of_one_seed_see_the_same_episodes_on_one_backbone(
    config: RunConfig, finished: Run, tmp_path: Path
) -> None:
    other = replace(config, output=tmp_path, network=replace(LIGHT, transport="partial", prior=True))
    row = run(other)
    index = config.data.load_index(0)
    samplers = [gather_batches(build_network(one, index), one, index) for one in (config, other)]
    first, second = (batches.sampler.draw_many(0, 30) for batches in samplers if isinstance(batches, FeatureBatches))
    assert first == second
    assert [one.episode_hash for one in row.result.runs] == [one.episode_hash for one in finished.result.runs]
    assert backbone_of(row.network) == backbone_of(finished.network)


def test_a_run_is_scored_on_classes_that_it_was_not_trained_on(config: RunConfig, finished: Run) -> None:
    checkpoint = load_checkpoint(config.output / TRAINING / "last.safetensors")
    assert checkpoint.trained_on == ("class 1", "class 2", "class 3")
    assert {shot.shot: tuple(shot.scores.class_iou) for shot in finished.result.runs} == {1: (4, 5), 2: (4, 5)}
    assert checkpoint.settings == finished.result.origin.settings == config.describe()
    assert checkpoint.fit == EVALUATION.fit
    assert list_differing(checkpoint.model.state_dict(), finished.network.state_dict()) == []
    assert (finished.result.origin.selection, finished.result.origin.convention) == ("last", "keep")


@pytest.mark.parametrize(
    ("select", "classes", "held"), [("base_val", "held-in", "held_in"), ("test", "held-out", "held_out")]
)
def test_the_best_weights_are_scored_and_the_result_says_by_what(
    select: Literal["base_val", "test"], classes: str, held: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validated: list[EvaluationConfig] = []
    loaded: list[int] = []

    def score(*arguments: Any, store: FeatureStore | None) -> Evaluation:
        """Evaluate; let the second of four validations have the best score."""
        found = evaluate(*arguments, store=store)
        validated.append(arguments[-1])
        return replace(found, scores=replace(found.scores, miou=(1.0, 3.0, 2.0, 0.0)[len(validated) - 1]))

    def load(*arguments: Any, cache: Path | None) -> PreparedEvaluation:
        loaded.append(len(validated))
        return prepare_evaluation(*arguments, cache=cache)

    monkeypatch.setattr("fewshot.runs.evaluate", score)
    monkeypatch.setattr("fewshot.runs.prepare_evaluation", load)
    training = replace(run_cases.TRAINING, steps=4, select=select, validate_every=1)
    evaluation = replace(EVALUATION, rule=RULE, episodes=4)
    found = run(make_run(tmp_path, tmp_path, data=Tiles(), rule=RULE, training=training, evaluation=evaluation))
    assert found.trained.scores == {1: 1.0, 2: 3.0, 3: 2.0, 4: 0.0}
    assert found.trained.selected_step == 2
    assert found.result.origin.selection == f"best mIoU on {classes} classes, step 2"
    assert {(one.classes, one.shots, one.seeds) for one in validated} == {(held, (1,), (8,))}, "other episodes"
    assert (loaded, len(validated)) == ([0], 4), "index and features are loaded once"
    assert tuple(found.result.data["images_of"]) == ("2",), "the result is on held-out classes, whatever chose"
    best, last = (load_checkpoint(tmp_path / TRAINING / f"{name}.safetensors").model for name in ("best", "last"))
    assert list_differing(best.state_dict(), found.network.state_dict()) == []
    assert list_differing(best.state_dict(), last.state_dict())


@pytest.mark.parametrize("select", ["base_val", "test"])
def test_episodes_that_are_given_to_be_tested_on_do_not_choose_weights(
    select: Literal["base_val", "test"], tmp_path: Path
) -> None:
    training = replace(run_cases.TRAINING, select=select)
    evaluation = replace(EVALUATION, rule=RULE, shots=(1,))
    config = make_run(tmp_path, tmp_path, data=Tiles(), rule=RULE, training=training, evaluation=evaluation)
    index = config.data.load_index(0)
    (tested,) = list_episodes(open_pool(config.data, index, 0, evaluation), evaluation)
    given = replace(config, evaluation=replace(evaluation, episodes_file=tested.save(tmp_path)))
    check_episodes(given, index)
    validation = configure_validation(given)
    (chosen_by,) = list_episodes(open_pool(config.data, index, 0, validation), validation)
    assert chosen_by.digest != tested.digest


def test_classes_that_no_test_image_shows_cannot_choose_weights(photographs: Folder, tmp_path: Path) -> None:
    training = replace(run_cases.TRAINING, select="base_val")
    fss_tree.write_tree(tmp_path / "fss")
    lists = [
        fss_tree.write_names(tmp_path / name, names) for name, names in (("a", fss_tree.TRAIN), ("b", fss_tree.TEST))
    ]
    for data in (photographs, FSS1000(tmp_path / "fss", *lists, index=tmp_path / "fss.json")):
        config = make_run(tmp_path / "run", tmp_path / "cache", data=data, training=training, multi_task=True)
        message = (
            rf"may be 'base_val' where at least 2 of .* Found fewer of .*, in {type(data).__name__}\. Set `training"
        )
        with pytest.raises(ValueError, match=message):
            run(config)
        assert not (tmp_path / "run").exists()
        assert not (tmp_path / "cache").exists(), "the supervised stage has not begun"


def test_too_few_images_to_train_with_are_refused_before_the_backbone_is(config: RunConfig, tmp_path: Path) -> None:
    asked = replace(config, output=tmp_path / "run", cache=tmp_path / "cache", multi_task=True)
    with pytest.raises(ValueError, match=r"at least `shot \+ 1 = 31` images .* Found \d+ for class 1 under"):
        run(replace(asked, training=replace(run_cases.TRAINING, shot=30)))
    assert not list(tmp_path.iterdir())


def test_too_few_images_for_the_shots_are_refused_before_anything_is_trained(config: RunConfig, tmp_path: Path) -> None:
    evaluation = replace(EVALUATION, shots=(1, 20))
    with pytest.raises(ValueError, match=r"at least `shot \+ 1 = 21` images .* Found \d+ for class 4 under .* Lower"):
        run(replace(config, output=tmp_path / "run", cache=tmp_path / "cache", evaluation=evaluation))
    assert not list(tmp_path.iterdir())


def test_augmented_images_are_trained_on_as_pixels(config: RunConfig, finished: Run, tmp_path: Path) -> None:
    augmented = replace(config, output=tmp_path, augmentation=Augmentation(size=32))
    index = config.data.load_index(0)
    assert isinstance(gather_batches(build_network(augmented, index), augmented, index), PixelBatches)
    assert isinstance(gather_batches(build_network(config, index), config, index), FeatureBatches)
    found = run(augmented)
    assert len(found.trained.losses) == 3
    assert found.trained.losses != finished.trained.losses
    assert [one.episode_hash for one in found.result.runs] == [one.episode_hash for one in finished.result.runs]


def test_features_that_are_too_large_to_train_on_are_refused(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fewshot.runs.MAX_BYTES", 2**10)
    with pytest.raises(ValueError, match=r"at most 0 GiB\. Found that those of 24 images .* Set `augmentation`, so"):
        run(replace(config, output=tmp_path))


def test_initial_weights_come_from_the_seed_alone(config: RunConfig) -> None:
    index = config.data.load_index(0)
    torch.manual_seed(1)
    first = build_network(config, index)
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), drawn), "the generator outside is left as it was"
    second = build_network(config, index)
    assert list_differing(first.state_dict(), second.state_dict()) == []
