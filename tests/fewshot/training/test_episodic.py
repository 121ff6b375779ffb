from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fewshot.data.labels import mask_of_class
from fewshot.data.transforms import normalise_images
from fewshot.episode import Episode
from fewshot.model.cmnet import CMNet
from fewshot.model.config import CMNetConfig
from fewshot.model.matching import MatchingConfig
from fewshot.training.batches import FeatureBatches
from fewshot.training.episodic import EpisodicStage
from fewshot.training.losses import dice_loss, map_loss, segmentation_loss
from fewshot.training.stages import Plan
from fewshot.training.train import TrainingConfig
from tests.fewshot.training_cases import NETWORK, make_batches, make_network

CONFIG = TrainingConfig(steps=4, batch_size=2)
PLAN = Plan(name="the test", steps=4, batch_size=2, seed=0, power=0.9)
TRANSPORT = replace(NETWORK, transport="partial", refinement_passes=0, matching=MatchingConfig(max_iter=5))


def make_stage(network: CMNet, batches: FeatureBatches, config: TrainingConfig = CONFIG) -> EpisodicStage:
    return EpisodicStage(network, config, PLAN, batches)


@pytest.fixture
def network() -> CMNet:
    return make_network(TRANSPORT).eval()


@pytest.fixture
def batches(network: CMNet, tiny_cache: Path) -> FeatureBatches:
    return make_batches(network, tiny_cache)


def read_pixels(batches: FeatureBatches) -> Episode:
    """The first episode as images."""
    spec = batches.sampler.draw(0)
    images, masks = [], []
    for number in (spec.query, *spec.supports):
        picture = batches.store.dataset.read(batches.pool.entries[number])
        images.append(normalise_images(picture.image))
        masks.append(mask_of_class(picture.labels, spec.class_id).long())
    return Episode(
        support_images=torch.stack(images[1:])[None],
        support_masks=torch.stack(masks[1:])[None],
        query_image=images[0][None],
        query_mask=masks[0][None],
    )


def test_loss_is_the_cross_entropy_alone_by_default(network: CMNet, batches: FeatureBatches) -> None:
    batch = batches[(0, 1)]
    outcome = make_stage(network, batches).learn_from(batch)
    assert batch.query_mask is not None
    assert outcome.parts.keys() == {"cross-entropy"}
    torch.testing.assert_close(
        outcome.parts["cross-entropy"], segmentation_loss(network.segment(batch), batch.query_mask)
    )


def test_further_losses_are_added_with_their_weights(network: CMNet, batches: FeatureBatches) -> None:
    batch = batches[(0, 1)]
    parts = make_stage(network, batches, replace(CONFIG, dice_weight=0.5, map_weight=2.0)).learn_from(batch).parts
    prediction, truth = network.segment(batch), batch.query_mask
    assert truth is not None
    assert prediction.transport_map is not None
    torch.testing.assert_close(parts["dice"], 0.5 * dice_loss(prediction.logits, truth))
    torch.testing.assert_close(parts["transport map"], 2.0 * map_loss(prediction.transport_map, truth))


def test_plans_are_diagnosed_where_there_are_some(network: CMNet, batches: FeatureBatches) -> None:
    found = make_stage(network, batches).learn_from(batches[(0, 1)]).diagnostics
    prediction = network.segment(batches[(0, 1)])
    assert prediction.fg_flow_fraction is not None
    assert prediction.flow_entropy is not None
    torch.testing.assert_close(found["fg_flow_fraction"], prediction.fg_flow_fraction.mean())
    torch.testing.assert_close(found["flow_entropy"], prediction.flow_entropy.mean())
    assert make_stage(make_network(), batches).learn_from(batches[(0, 1)]).diagnostics == {}


def test_episodes_of_pixels_are_encoded_first(network: CMNet, batches: FeatureBatches) -> None:
    stage = make_stage(network, batches)
    from_pixels = stage.learn_from(read_pixels(batches)).parts["cross-entropy"]
    from_features = stage.learn_from(batches[(0,)]).parts["cross-entropy"]
    # Features are kept in float16.
    torch.testing.assert_close(from_pixels, from_features, atol=1e-2, rtol=0)


def test_episodes_without_a_truth_are_refused(network: CMNet, batches: FeatureBatches) -> None:
    with pytest.raises(ValueError, match=r"must have a `query_mask`\. Found None\. Draw them from labelled"):
        make_stage(network, batches).learn_from(replace(batches[(0,)], query_mask=None))


def test_supervising_the_map_teaches_what_is_compared(network: CMNet, batches: FeatureBatches) -> None:
    stage = make_stage(network, batches, replace(CONFIG, map_weight=1.0))
    stage.learn_from(batches[(0, 1)]).parts["transport map"].backward()
    gradient = next(network.reduction.parameters()).grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize(
    "change",
    [
        {"transport": "none"},
        {"matching": MatchingConfig(detach=True)},
        {"matching": MatchingConfig(features="mid")},
    ],
    ids=["none", "detached", "frozen"],
)
def test_supervising_a_map_that_cannot_learn_is_refused(change: dict, network: CMNet, batches: FeatureBatches) -> None:
    fixed = make_network(replace(TRANSPORT, **change))
    with pytest.raises(ValueError, match=r"`map_weight` must be 0 where no gradient .* Found transport .*\. Set"):
        make_stage(fixed, batches, replace(CONFIG, map_weight=1.0))


def test_sgd_has_the_rate_of_the_configuration_times_the_multiplier_in_sight(
    network: CMNet, batches: FeatureBatches
) -> None:
    config = replace(CONFIG, learning_rate=0.0025, lr_multiplier=10.0, momentum=0.8, weight_decay=1e-3)
    optimizer = make_stage(network, batches, config).make_optimizer()
    assert isinstance(optimizer, torch.optim.SGD)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (pytest.approx(0.025), 0.8, 1e-3)


def test_adamw_takes_the_momentum_as_its_first_decay(network: CMNet, batches: FeatureBatches) -> None:
    optimizer = make_stage(network, batches, replace(CONFIG, optimizer="adamw", momentum=0.8)).make_optimizer()
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.999)


def test_only_what_is_behind_the_backbone_is_given_to_the_optimiser(network: CMNet, batches: FeatureBatches) -> None:
    given = {
        id(weight) for group in make_stage(network, batches).make_optimizer().param_groups for weight in group["params"]
    }
    behind = [weight for name, weight in network.named_parameters() if not name.startswith("backbone.")]
    assert given == {id(weight) for weight in behind}


def test_all_processes_make_the_same_passes_and_drop_different_channels(
    network: CMNet, batches: FeatureBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes, dropped = [], []
    for rank in (0, 1):
        stage = make_stage(deepcopy(network), batches)
        monkeypatch.setattr(EpisodicStage, "global_rank", rank)
        monkeypatch.setattr(EpisodicStage, "global_step", 3)
        stage.on_train_batch_start(None, 3)
        passes.append(torch.rand(8, generator=stage.network.refinement.draws))
        dropped.append(torch.rand(8))
    assert torch.equal(passes[0], passes[1])
    assert not torch.equal(dropped[0], dropped[1])
    assert not torch.equal(passes[0], dropped[0])


def test_the_backbone_stays_in_eval_mode(network: CMNet, batches: FeatureBatches) -> None:
    stage = make_stage(network, batches)
    stage.on_train_start()
    assert network.training
    assert not any(module.training for module in network.backbone.modules())


def test_networks_of_every_row_are_learnable(tiny_cache: Path) -> None:
    """Every weight behind the backbone gets a gradient: DDP waits for those that do not."""
    rows = [
        {},
        {"prior": True},
        {"transport": "partial", "matching": MatchingConfig(max_iter=5)},
        {"message_flow": ("inner", "cross"), "position": "mlp"},
        {"decoder": "fem"},
    ]
    for row in rows:
        network = make_network(CMNetConfig(**{**vars(NETWORK), **row})).train()
        batches = make_batches(network, tiny_cache)
        make_stage(network, batches).learn_from(batches[(0, 1)]).parts["cross-entropy"].backward()
        idle = [name for name, weight in network.named_parameters() if weight.requires_grad and weight.grad is None]
        assert idle == [], row
