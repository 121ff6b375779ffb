"""The backbone of a run: where its weights come from, whom it is shared with, and what is said or refused of it."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from fewshot.data.augmentation import Augmentation
from fewshot.data.folder import Folder
from fewshot.data.storage import hash_tensors, load_tensors, save_tensors
from fewshot.pretraining.pretrain import Supervision, pretrain
from fewshot.pretraining.stage1 import LeakageError
from fewshot.run_config import RunConfig
from fewshot.runs import build_network, run
from tests.fewshot.pretraining_cases import make_backbone
from tests.fewshot.run_cases import LIGHT, PRETRAINING, backbone_of, list_differing, make_run
from tests.fewshot.training_cases import CPU


@pytest.fixture
def config(tiny_cache: Path, tmp_path: Path) -> RunConfig:
    return make_run(tmp_path / "run", tiny_cache)


def test_a_random_backbone_is_warned_of(config: RunConfig, caplog: pytest.LogCaptureFixture) -> None:
    index = config.data.load_index(0)
    build_network(config, index)
    assert "The backbone is random: `weights` names no file, and `multi_task` is off." in caplog.text


def test_a_supervised_stage_that_starts_from_a_random_backbone_is_warned_of(
    config: RunConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build_network(replace(config, multi_task=True, cache=tmp_path), config.data.load_index(0))
    assert "The supervised stage starts from a random backbone: `weights` names no file." in caplog.text


def test_weights_from_a_file_fill_the_backbone(
    config: RunConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = make_backbone(seed=12).state_dict()
    save_tensors(tmp_path / "imagenet.safetensors", weights)
    with caplog.at_level(logging.INFO):
        network = build_network(replace(config, weights=tmp_path / "imagenet.safetensors"), config.data.load_index(0))
    assert list_differing(network.backbone.state_dict(), weights) == []
    assert "random" not in caplog.text
    assert "imagenet.safetensors, SHA-256" in caplog.text


def test_the_supervised_stage_is_run_once_for_all_seeds(config: RunConfig, tmp_path: Path) -> None:
    first = run(replace(config, output=tmp_path / "1", cache=tmp_path / "cache", multi_task=True))
    (backbone,) = (tmp_path / "cache").glob("backbone-*/backbone.safetensors")
    written = backbone.stat().st_mtime_ns
    second = run(replace(config, output=tmp_path / "2", cache=tmp_path / "cache", multi_task=True, seed=2))
    assert list((tmp_path / "cache").glob("backbone-*/backbone.safetensors")) == [backbone]
    assert backbone.stat().st_mtime_ns == written
    kept = hash_tensors(load_tensors(backbone))
    assert kept == backbone_of(first.network) == backbone_of(second.network)
    untrained = build_network(replace(config, multi_task=False), config.data.load_index(0))
    assert kept != backbone_of(untrained), "it was trained"


@pytest.fixture
def photograph_run(photographs: Folder, tmp_path: Path) -> RunConfig:
    pretraining = replace(PRETRAINING, batch_norm="frozen", augmentation=replace(PRETRAINING.augmentation, size=24))
    return make_run(tmp_path / "run", tmp_path / "cache", data=photographs, multi_task=True, pretraining=pretraining)


def pretrain_on_fold(config: RunConfig, fold: int) -> Path:
    supervision = Supervision(config.data, config.data.load_index(fold), config.data.fold(fold))
    return pretrain(make_backbone(), supervision, config.pretraining, seed=0, cache=config.cache, hardware=CPU).path


def test_a_backbone_of_the_fold_may_be_given(photograph_run: RunConfig) -> None:
    path = pretrain_on_fold(photograph_run, 0)
    network = build_network(replace(photograph_run, stage1=path), photograph_run.data.load_index(0))
    assert backbone_of(network) == hash_tensors(load_tensors(path))


def test_a_backbone_of_another_fold_is_refused(photograph_run: RunConfig) -> None:
    path = pretrain_on_fold(photograph_run, 1)
    with pytest.raises(LeakageError, match=r"Found `fold = 1` in .* where the run has 0\. Train a backbone for this"):
        run(replace(photograph_run, stage1=path))
    assert not photograph_run.output.exists()


def test_features_of_a_backbone_whose_statistics_drift_are_not_kept(config: RunConfig, tmp_path: Path) -> None:
    drifting = replace(
        config,
        output=tmp_path / "run",
        cache=tmp_path / "cache",
        network=replace(LIGHT, backbone_bn="train"),
        augmentation=Augmentation(size=32),
    )
    before = build_network(drifting, config.data.load_index(0))
    found = run(drifting)
    assert not (tmp_path / "cache").exists()
    drifted = list_differing(before.backbone.state_dict(), found.network.backbone.state_dict())
    assert drifted
    assert all("running" in name or "num_batches" in name for name in drifted)
