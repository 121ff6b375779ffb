from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from fewshot.data.sampling import EpisodeSampler, EpisodeSpec
from fewshot.episode import IGNORED
from fewshot.features import FeatureEpisodes, FeatureStore
from fewshot.loops import NonFiniteLossError
from fewshot.model.cmnet import CMNet
from fewshot.model.prediction import Prediction
from fewshot.training import EpisodeBatches, EpisodicStage, TrainingConfig, compute_loss, train_episodically

CONFIG = TrainingConfig(steps=4, batch_size=2, warmup=1)


def train(network: CMNet, store: FeatureStore, config: TrainingConfig = CONFIG, *, seed: int = 0) -> tuple[float, ...]:
    return train_episodically(network, store, store.data.class_ids, config, seed=seed, description="Training")


def test_loss_falls_on_a_few_classes(tiny_network: CMNet, tiny_store: FeatureStore) -> None:
    losses = train(tiny_network, tiny_store, TrainingConfig(steps=60, batch_size=4, learning_rate=3e-3, warmup=5))
    assert len(losses) == 60
    assert sum(losses[-10:]) < 0.7 * sum(losses[:3]) * 10 / 3


def test_frozen_backbone_stays_bit_equal_and_in_eval_mode(tiny_network: CMNet, tiny_store: FeatureStore) -> None:
    before = deepcopy(tiny_network.backbone.state_dict())
    train(tiny_network, tiny_store)
    assert all(torch.equal(value, before[name]) for name, value in tiny_network.backbone.state_dict().items())
    assert not any(module.training for module in tiny_network.modules())


def test_everything_behind_the_backbone_learns(tiny_network: CMNet, tiny_store: FeatureStore) -> None:
    before = {name: value.clone() for name, value in tiny_network.named_parameters() if value.requires_grad}
    train(tiny_network, tiny_store)
    after = dict(tiny_network.named_parameters())
    assert before
    assert not [name for name, value in before.items() if torch.equal(after[name], value)]


def test_same_seed_trains_the_same_weights(tiny_network: CMNet, tiny_store: FeatureStore) -> None:
    same, other = deepcopy(tiny_network), deepcopy(tiny_network)
    losses = train(tiny_network, tiny_store)
    torch.manual_seed(7)
    assert train(same, tiny_store) == losses
    assert train(other, tiny_store, seed=1) != losses
    for name, value in tiny_network.state_dict().items():
        assert torch.equal(same.state_dict()[name], value)


def test_batches_hold_the_samplers_episodes_in_order(tiny_store: FeatureStore) -> None:
    sampler = EpisodeSampler(tiny_store.data.labels, tiny_store.data.class_ids, seed=5)
    batches = EpisodeBatches(tiny_store, sampler, steps=3, batch_size=4)
    specs = tuple(spec for batch in batches for spec in batch.specs)
    assert len(batches) == 3
    assert specs == sampler.draw_many(0, 12)


def test_two_networks_of_one_seed_see_the_same_episodes(
    tiny_network: CMNet, tiny_store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[EpisodeSpec, ...]] = []
    gather = tiny_store.gather

    def note(specs: tuple[EpisodeSpec, ...]) -> FeatureEpisodes:
        seen.append(specs)
        return gather(specs)

    monkeypatch.setattr(tiny_store, "gather", note)
    wider = CMNet(replace(tiny_network.config, prior=True))
    wider.backbone.load_state_dict(tiny_network.backbone.state_dict())
    train(tiny_network, tiny_store)
    train(wider, tiny_store)
    assert seen[: CONFIG.steps] == seen[CONFIG.steps :]
    assert len(seen) == 2 * CONFIG.steps


def test_learning_rate_rises_and_falls_to_zero() -> None:
    config = TrainingConfig(steps=100, warmup=10, power=0.9)
    factors = [config.learning_rate_factor(step) for step in range(101)]
    assert factors[0] == pytest.approx(1 / 11)
    assert factors.index(max(factors)) == 10
    assert factors[50] == pytest.approx(0.5**0.9)
    assert factors[100] == 0.0


def test_loss_that_is_no_number_stops_before_the_weights_are_touched(
    tiny_network: CMNet, tiny_store: FeatureStore
) -> None:
    tiny_store.features.mid[:] = float("nan")
    before = deepcopy(tiny_network.state_dict())
    with pytest.raises(
        NonFiniteLossError, match=r"Found nan at step 0 of episodic training, on the episodes \(Episode"
    ):
        train(tiny_network, tiny_store)
    assert all(torch.equal(value, before[name]) for name, value in tiny_network.state_dict().items())


def test_gradient_that_is_no_number_stops_before_the_weights_are_touched(tiny_network: CMNet) -> None:
    weight = nn.Parameter(torch.ones(3))
    weight.grad = torch.tensor([1.0, float("nan"), 1.0])
    with pytest.raises(NonFiniteLossError, match=r"in the length of the gradient\. Lower the learning rate"):
        EpisodicStage(tiny_network, CONFIG).on_before_optimizer_step(torch.optim.SGD([weight], 0.1))


def test_long_gradients_are_shortened_and_short_ones_left(tiny_network: CMNet) -> None:
    stage = EpisodicStage(tiny_network, replace(CONFIG, max_gradient_norm=2.0))
    for length, expected in ((10.0, 2.0), (1.0, 1.0)):
        weight = nn.Parameter(torch.zeros(1))
        weight.grad = torch.tensor([length])
        stage.on_before_optimizer_step(torch.optim.SGD([weight], 0.1))
        assert weight.grad.item() == pytest.approx(expected, rel=1e-4)


def test_loss_does_not_see_unknown_pixels() -> None:
    truth = torch.tensor([[[0, 1], [IGNORED, 1]]])
    logits = torch.randn(1, 2, 2, 2)
    changed = logits.clone()
    changed[0, :, 1, 0] = 50.0 * torch.randn(2)
    assert compute_loss(Prediction(logits), truth) == compute_loss(Prediction(changed), truth)


def test_loss_adds_weighted_auxiliary_losses() -> None:
    truth, logits, other = torch.randint(0, 2, (2, 4, 4)), torch.randn(2, 2, 4, 4), torch.randn(2, 2, 4, 4)
    loss = compute_loss(Prediction(logits, auxiliary=(other,), auxiliary_weights=(0.25,)), truth)
    torch.testing.assert_close(loss, cross_entropy(logits, truth) + 0.25 * cross_entropy(other, truth))


@pytest.mark.parametrize(
    "change",
    [{"steps": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"max_gradient_norm": -1.0}, {"shot": 0}],
    ids=str,
)
def test_settings_that_train_nothing_are_refused(change: dict[str, int | float]) -> None:
    with pytest.raises(ValueError, match=rf"`{next(iter(change))}` must be positive\. Found"):
        replace(CONFIG, **change)
