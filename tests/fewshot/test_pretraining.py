from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fewshot import pretraining
from fewshot.data.synthetic import LabelledImages
from fewshot.data.transforms import normalise_images
from fewshot.episode import IGNORED
from fewshot.loops import NonFiniteLossError
from fewshot.model.backbone import build_backbone
from fewshot.pretraining import (
    PretrainedBackbone,
    PretrainingConfig,
    SupervisedBatches,
    SupervisedStage,
    pretrain_backbone,
)

CONFIG = PretrainingConfig(steps=30, batch_size=4, learning_rate=0.05)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backbones")


@pytest.fixture(scope="module")
def trained(tiny_base: LabelledImages, cache: Path) -> PretrainedBackbone:
    return pretrain_backbone("small", tiny_base, CONFIG, seed=0, cache=cache)


def test_loss_falls(trained: PretrainedBackbone) -> None:
    assert len(trained.losses) == 30
    assert sum(trained.losses[-5:]) < 0.8 * sum(trained.losses[:5])


def test_weights_fit_the_backbone_they_are_for(trained: PretrainedBackbone) -> None:
    build_backbone("small").load_state_dict(trained.weights)
    assert not any(weight.requires_grad for weight in trained.weights.values())


def test_same_training_is_read_from_the_cache(
    trained: PretrainedBackbone, tiny_base: LabelledImages, cache: Path
) -> None:
    again = pretrain_backbone("small", tiny_base, CONFIG, seed=0, cache=cache)
    assert again.reused
    assert not trained.reused
    assert all(torch.equal(again.weights[name], value) for name, value in trained.weights.items())


def test_same_seed_trains_the_same_weights(
    trained: PretrainedBackbone, tiny_base: LabelledImages, tmp_path: Path
) -> None:
    torch.manual_seed(99)
    again = pretrain_backbone("small", tiny_base, CONFIG, seed=0, cache=tmp_path)
    assert again.losses == trained.losses
    assert all(torch.equal(again.weights[name], value) for name, value in trained.weights.items())


@pytest.mark.parametrize("change", ["seed", "config", "labels"])
def test_another_training_is_not_mistaken_for_this_one(change: str, tiny_base: LabelledImages) -> None:
    labels = tiny_base.labels.clone()
    labels[0, 0, 0] = 1 if labels[0, 0, 0] != 1 else 2
    seed, config, data = 0, CONFIG, tiny_base
    key = pretraining._key("small", data, config, seed)
    seed = 1 if change == "seed" else seed
    config = replace(config, momentum=0.8) if change == "config" else config
    data = replace(data, labels=labels) if change == "labels" else data
    assert pretraining._key("small", data, config, seed) != key


def test_training_that_breaks_down_is_stopped_and_leaves_no_backbone(tiny_base: LabelledImages, tmp_path: Path) -> None:
    reckless = replace(CONFIG, learning_rate=1e30)
    with pytest.raises(NonFiniteLossError, match=r"of the supervised stage with `learning_rate = 1e\+30`\. Lower"):
        pretrain_backbone("small", tiny_base, reckless, seed=0, cache=tmp_path)
    assert not list(tmp_path.iterdir())


def test_every_image_is_seen_once_before_any_is_seen_again(tiny_base: LabelledImages) -> None:
    numbered = replace(
        tiny_base,
        images=torch.arange(24, dtype=torch.uint8).view(24, 1, 1, 1).expand(24, 3, 4, 4).contiguous(),
        labels=torch.zeros(24, 4, 4, dtype=torch.uint8),
    )
    code = normalise_images(numbered.images)[:, 0, 0, 0].tolist()
    batches = list(SupervisedBatches(numbered, steps=12, batch_size=4, seed=0))
    order = [code.index(value) for images, _ in batches for value in images[:, 0, 0, 0].tolist()]
    assert sorted(order[:24]) == sorted(order[24:]) == list(range(24))
    assert order[:24] != order[24:]


def test_images_and_labels_are_mirrored_together() -> None:
    labels = torch.zeros(6, 4, 4, dtype=torch.uint8)
    labels[:, :, :2] = 1
    data = LabelledImages(labels[:, None].expand(6, 3, 4, 4).contiguous() * 255, labels, (1,))
    mirrored = 0
    for images, found in SupervisedBatches(data, steps=5, batch_size=6, seed=0):
        assert torch.equal(images[:, 0] > 0, found == 1)
        mirrored += int((found[:, 0, 0] == 0).sum())
    assert 5 < mirrored < 25, "about half"
    assert labels[:, 0, 0].all(), "the data themselves stay as they are"


def test_labels_become_positions_among_the_classes_and_unknown_stays_out_of_the_loss() -> None:
    stage = SupervisedStage(build_backbone("small"), (3, 7), CONFIG)
    assert stage.target_of[[0, 3, 7, IGNORED]].tolist() == [0, 1, 2, IGNORED]


@pytest.mark.parametrize("change", [{"steps": 0}, {"batch_size": 0}, {"learning_rate": 0.0}], ids=str)
def test_settings_that_train_nothing_are_refused(change: dict[str, int | float]) -> None:
    with pytest.raises(ValueError, match=rf"`{next(iter(change))}` must be positive\. Found"):
        replace(CONFIG, **change)
