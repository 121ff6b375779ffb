from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fewshot.data.labels import UNKNOWN
from fewshot.pretraining.config import PretrainingConfig
from fewshot.pretraining.supervised import FinalCheck, SupervisedStage, list_batch_norms
from fewshot.pretraining.supervision import LabelledBatch, SupervisedBatches
from fewshot.training.loops import run_stage
from fewshot.training.stages import Plan
from tests.fewshot.pretraining_cases import CONFIG, make_backbone, supervise
from tests.fewshot.training_cases import CPU

PLAN = Plan(name="the test", steps=2, batch_size=2, seed=0, power=0.9)


def make_stage(source: SupervisedBatches, config: PretrainingConfig = CONFIG) -> SupervisedStage:
    return SupervisedStage(make_backbone(), source, config, PLAN)


@pytest.fixture
def source(tiny_cache: Path) -> SupervisedBatches:
    return SupervisedBatches(supervise(tiny_cache), CONFIG.augmentation, seed=0)


@pytest.fixture
def stage(source: SupervisedBatches) -> SupervisedStage:
    return make_stage(source)


@pytest.mark.parametrize("head", ["linear", "ppm"])
def test_loss_is_the_cross_entropy_of_places_among_the_classes(head: str, source: SupervisedBatches) -> None:
    stage = make_stage(source, replace(CONFIG, head=head)).eval()
    batch = source[(0, 1)]
    # Nodes are 16 x 16, twice that for the linear head, and the pixels themselves for the other.
    size, labels = ((64, 64), batch.labels) if head == "ppm" else ((32, 32), batch.labels[:, 1::2, 1::2])
    logits = functional.interpolate(stage.classify(batch.images), size, mode="bilinear", align_corners=False)
    expected = functional.cross_entropy(logits, labels, ignore_index=UNKNOWN)
    torch.testing.assert_close(stage.learn_from(batch).parts["cross-entropy"], expected)


def test_unknown_pixels_teach_nothing(stage: SupervisedStage, source: SupervisedBatches) -> None:
    batch = source[(0, 1)]
    blank = LabelledBatch(batch.images, torch.full_like(batch.labels, UNKNOWN))
    stage.learn_from(blank).parts["cross-entropy"].backward()
    assert all(weight.grad is not None and not weight.grad.any() for weight in stage.head.parameters())


def test_backbone_and_classifier_have_rates_of_their_own(source: SupervisedBatches) -> None:
    config = replace(CONFIG, learning_rate=0.0025, head_learning_rate=0.025)
    backbone, head = make_stage(source, config).make_optimizer().param_groups
    assert (backbone["name"], backbone["lr"]) == ("backbone", 0.0025)
    assert (head["name"], head["lr"]) == ("head", 0.025)


def test_frozen_statistics_stay_frozen_in_training_mode(source: SupervisedBatches) -> None:
    stage = make_stage(source, replace(CONFIG, batch_norm="frozen", head="ppm"))
    stage.train()
    layers = list_batch_norms(stage.backbone)
    assert layers
    assert not any(layer.training for layer in layers)
    assert not any(weight.requires_grad for layer in layers for weight in layer.parameters())
    assert all(layer.training for layer in list_batch_norms(stage.head))


def test_learning_statistics_are_in_training_mode(stage: SupervisedStage) -> None:
    stage.train()
    assert all(layer.training for layer in list_batch_norms(stage.backbone))


class Oracle(SupervisedStage):
    """Answers with the labels themselves in the end, save that it takes one class for another."""

    def know(self, truths: list[Tensor], confused: tuple[int, int]) -> None:
        self.truths, self.confused = iter(truths), confused

    def classify(self, images: Tensor) -> Tensor:
        if self.training:
            return super().classify(images)
        truth = next(self.truths).clamp(min=0)
        truth = torch.where(truth == self.confused[0], self.confused[1], truth)
        return 100.0 * functional.one_hot(truth, self.supervision.class_count).movedim(-1, 0)[None].float()


def test_check_counts_held_in_classes_of_images_of_the_test_part(source: SupervisedBatches) -> None:
    supervision = source.supervision
    stage = Oracle(make_backbone(), source, CONFIG, PLAN)
    shown = [entry for entry in supervision.index.val.entries if {1, 2, 3} & set(entry.pixels)]
    truths = [supervision.place_labels(supervision.dataset.read(entry).labels) for entry in shown]
    assert any((truth == UNKNOWN).any() for truth in truths), "held-out objects, which do not count"
    stage.know(truths, confused=(1, 2))
    check = FinalCheck(stage, images=None, workers=0)
    run_stage(stage, hardware=CPU, folder=None, callbacks=[check], description="Check")
    whole = torch.cat([truth.flatten() for truth in truths])
    first, second = int((whole == 1).sum()), int((whole == 2).sum())
    found = {place: value for place, value in enumerate(check.iou) if place in (0, 1, 2)}
    assert first
    assert found == {0: 100.0, 1: 0.0, 2: pytest.approx(100 * second / (first + second))}


@pytest.mark.parametrize(("images", "classes"), [(0, 0), (1, 4)])
def test_check_may_be_on_fewer_images_or_none(images: int, classes: int, stage: SupervisedStage) -> None:
    check = FinalCheck(stage, images=images, workers=0)
    run_stage(stage, hardware=CPU, folder=None, callbacks=[check], description="Check")
    assert len(check.iou) == classes
