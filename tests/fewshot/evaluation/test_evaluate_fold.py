"""A fold is scored on every list of its episodes, from features that are kept or from images."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from fewshot.data.folder import Folder
from fewshot.data.pools import EpisodePool
from fewshot.evaluation.evaluate import evaluate, evaluate_fold
from fewshot.evaluation.protocol import list_episodes
from fewshot.evaluation.results import Origin
from fewshot.model.cmnet import CMNet
from tests.fewshot.photographs import CONFIG, without_time

UNTRAINED = Origin("none", None)


def test_fold_is_evaluated_on_every_list(network: CMNet, photographs: Folder, photo_pool: EpisodePool) -> None:
    result = evaluate_fold(network, photographs, 0, CONFIG, origin=UNTRAINED)
    lists = list_episodes(photo_pool, CONFIG)
    assert [(run.shot, run.seed, run.episode_hash) for run in result.runs] == [
        (one.shot, one.seed, one.digest) for one in lists
    ]
    expected = evaluate(network, photographs, lists[3], CONFIG)
    assert without_time(result.runs[3]) == without_time(expected)
    first, second = (run.scores.miou for run in result.runs[:2])
    spread = result.summarise(1)
    assert spread.mean == pytest.approx((first + second) / 2)
    assert spread.std == pytest.approx(abs(first - second) / 2**0.5)


def test_fold_is_evaluated_from_features_in_a_folder(network: CMNet, photographs: Folder, tmp_path: Path) -> None:
    pixels = evaluate_fold(network, photographs, 0, CONFIG, origin=UNTRAINED)
    computed = evaluate_fold(network, photographs, 0, CONFIG, origin=UNTRAINED, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    read = evaluate_fold(network, photographs, 0, CONFIG, origin=UNTRAINED, cache=tmp_path)
    assert [run.scores for run in read.runs] == [run.scores for run in computed.runs]
    assert computed.summarise(2).mean == pytest.approx(pixels.summarise(2).mean, abs=0.2)


def test_features_that_are_too_large_to_keep_are_not_kept(
    network: CMNet,
    photographs: Folder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("fewshot.evaluation.evaluate.MAX_BYTES", 1000)
    with caplog.at_level(logging.INFO):
        found = evaluate_fold(network, photographs, 0, CONFIG, origin=UNTRAINED, cache=tmp_path)
    assert "Features of 8 images would take" in caplog.text
    assert not list(tmp_path.iterdir())
    expected = evaluate_fold(network, photographs, 0, CONFIG, origin=UNTRAINED)
    assert [run.scores for run in found.runs] == [run.scores for run in expected.runs]


def test_lists_of_episodes_are_written_for_others(network: CMNet, photographs: Folder, tmp_path: Path) -> None:
    drawn = evaluate_fold(network, photographs, 0, replace(CONFIG, episodes_folder=tmp_path), origin=UNTRAINED)
    assert len(list(tmp_path.iterdir())) == len(drawn.runs) == 4
    config = replace(CONFIG, shots=(2,), episodes_file=tmp_path / "episodes-2shot-seed8.json")
    (given,) = evaluate_fold(network, photographs, 0, config, origin=UNTRAINED).runs
    assert without_time(given) == replace(without_time(drawn.runs[3]), seed=None)
