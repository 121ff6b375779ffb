from dataclasses import replace

import pytest

from fewshot.pretraining.pretrain import PretrainingConfig

CONFIG = PretrainingConfig()


def test_defaults_are_those_of_the_field() -> None:
    """RePRI and BAM: crops of 417 scaled by 0.5 to 2, batches of 12, 100 epochs; held-out classes excluded."""
    augmentation = CONFIG.augmentation
    assert (augmentation.size, augmentation.scale, augmentation.flip_probability) == (417, (0.5, 2.0), 0.5)
    assert (augmentation.rotation_probability, augmentation.blur_probability) == (0.0, 0.0)
    assert (CONFIG.learning_rate, CONFIG.head_learning_rate, CONFIG.power) == (0.0025, 0.025, 0.9)
    assert (CONFIG.head, CONFIG.batch_norm, CONFIG.convention) == ("ppm", "train", "exclude")


def test_length_is_in_epochs_of_whole_batches_or_in_steps() -> None:
    assert CONFIG.count_steps(4387) == 100 * (4387 // 12)
    assert replace(CONFIG, epochs=2).count_steps(25) == 4
    assert replace(CONFIG, steps=7).count_steps(25) == 7


POSITIVE = {"batch_size": 0, "learning_rate": 0.0, "head_learning_rate": -1.0, "checkpoint_every": 0, "steps": 0}


@pytest.mark.parametrize(("name", "value"), POSITIVE.items(), ids=POSITIVE)
def test_settings_that_train_nothing_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"`{name}` must be positive\. Found `{name} = {value}`\. Pass"):
        replace(CONFIG, **{name: value})


NOT_NEGATIVE = {"momentum": -0.1, "weight_decay": -0.1, "power": -1.0, "check_images": -1}


@pytest.mark.parametrize(("name", "value"), NOT_NEGATIVE.items(), ids=NOT_NEGATIVE)
def test_negative_settings_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"`{name}` must be at least 0\. Found `{name} = {value}`\. Pass 0"):
        replace(CONFIG, **{name: value})


@pytest.mark.parametrize("name", ["head", "batch_norm", "convention"])
def test_settings_that_do_not_exist_are_refused(name: str) -> None:
    config = PretrainingConfig()
    object.__setattr__(config, name, "other")
    with pytest.raises(ValueError, match=rf"`{name}` must be one of .*\. Found `{name} = 'other'`\. Correct"):
        config.__post_init__()


def test_a_single_image_is_too_few_for_statistics_of_whole_images() -> None:
    with pytest.raises(ValueError, match=r"at least 2 for the head 'ppm'.* Found `batch_size = 1`\. Pass more"):
        replace(CONFIG, batch_size=1)
    assert replace(CONFIG, batch_size=1, head="linear").batch_size == 1
