from dataclasses import replace
from pathlib import Path

import pytest

from fewshot.data.pools import EpisodePool, training_pool
from fewshot.data.synthetic import Synthetic
from fewshot.training.train import TrainingConfig
from tests.fewshot.training_cases import TINY

CONFIG = TrainingConfig(steps=3)


@pytest.fixture(scope="module")
def pool(tiny_cache: Path) -> EpisodePool:
    data = Synthetic(TINY, cache=tiny_cache)
    return training_pool(data.load_index(0).train, data.fold(0), rule=data.draw_rule)


def test_defaults_are_the_papers() -> None:
    """Batches of 4 by SGD with a rate of 0.0025 and a polynomial fall of 0.9 (section IV.B), no hidden multiplier."""
    assert (CONFIG.optimizer, CONFIG.batch_size, CONFIG.learning_rate, CONFIG.power) == ("sgd", 4, 0.0025, 0.9)
    assert (CONFIG.lr_multiplier, CONFIG.warmup, CONFIG.max_gradient_norm) == (1.0, 0, None)
    assert (CONFIG.dice_weight, CONFIG.map_weight, CONFIG.select) == (0.0, 0.0, "last")


def test_epochs_are_rounds_of_the_pool_in_whole_batches(pool: EpisodePool) -> None:
    config = TrainingConfig(epochs=3, batch_size=5)
    assert config.count_steps(pool) == 3 * (len(pool.entries) // 5)


def test_sampler_draws_as_configured(pool: EpisodePool) -> None:
    sampler = TrainingConfig(steps=1, shot=2, order="walk").make_sampler(pool, seed=7)
    assert (sampler.pool, sampler.shot, sampler.order, sampler.seed) == (pool, 2, "walk", 7)
    assert [spec.query for spec in sampler.draw_many(0, 3)] == [0, 1, 2]


def test_an_epoch_shows_every_image_as_query_once(pool: EpisodePool) -> None:
    sampler = TrainingConfig(epochs=1).make_sampler(pool, seed=0)
    queries = [spec.query for spec in sampler.draw_many(0, len(pool.entries))]
    assert sorted(queries) == list(range(len(pool.entries)))
    assert queries != sorted(queries)


POSITIVE = {
    "batch_size": 0,
    "learning_rate": 0.0,
    "lr_multiplier": 0.0,
    "max_gradient_norm": -1.0,
    "shot": 0,
    "checkpoint_every": 0,
    "keep_every": 0,
    "validate_every": 0,
}


@pytest.mark.parametrize(("name", "value"), POSITIVE.items(), ids=POSITIVE)
def test_settings_that_train_nothing_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"`{name}` must be positive\. Found `{name} = {value}`\. Pass"):
        replace(CONFIG, **{name: value})


NOT_NEGATIVE = {
    "momentum": -0.1,
    "weight_decay": -0.1,
    "power": -1.0,
    "warmup": -1,
    "dice_weight": -1.0,
    "map_weight": -1.0,
}


@pytest.mark.parametrize(("name", "value"), NOT_NEGATIVE.items(), ids=NOT_NEGATIVE)
def test_negative_settings_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"`{name}` must be at least 0\. Found `{name} = {value}`\. Pass 0"):
        replace(CONFIG, **{name: value})


@pytest.mark.parametrize("name", ["optimizer", "order", "select"])
def test_settings_that_do_not_exist_are_refused(name: str) -> None:
    config = TrainingConfig(steps=3)
    object.__setattr__(config, name, "best")
    with pytest.raises(ValueError, match=rf"`{name}` must be one of .*\. Found `{name} = 'best'`\. Correct"):
        config.__post_init__()


def test_a_length_may_be_given_once_only(pool: EpisodePool) -> None:
    assert TrainingConfig().count_steps(pool) == TrainingConfig(epochs=200).count_steps(pool)
    with pytest.raises(ValueError, match=r"Found `epochs = 2` and `steps = 3`\. Set one of them"):
        TrainingConfig(epochs=2, steps=3)
