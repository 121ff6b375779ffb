"""Episodes of tiles, and what is asked of them."""

import dataclasses

import torch
from torch import Tensor

from fewshot.data.augmentation import Augmentation
from fewshot.data.boxes import SupportAnnotation
from fewshot.data.episodes import TestEpisodes, TrainingEpisodes
from fewshot.data.fitting import Fit
from fewshot.data.pools import Convention, evaluation_pool, training_pool
from fewshot.data.sampling import EpisodeSampler
from fewshot.episode import Episode
from tests.fewshot.data.tiles import RULE, Tiles

PLAIN = Augmentation(size=64, scale=(1.0, 1.0), rotation_probability=0.0, blur_probability=0.0, flip_probability=0.0)
MASKS = SupportAnnotation()


def make_training(
    convention: Convention = "keep", *, shot: int = 2, augmentation: Augmentation = PLAIN
) -> TrainingEpisodes:
    tiles = Tiles()
    split = tiles.load_index(0).train
    pool = training_pool(split, tiles.fold(0), convention=convention, rule=RULE)
    return TrainingEpisodes(tiles, EpisodeSampler(pool, shot=shot), augmentation, seed=5, length=30)


def make_test(fit: Fit, annotation: SupportAnnotation = MASKS) -> TestEpisodes:
    tiles = Tiles()
    pool = evaluation_pool(tiles.load_index(0).val, tiles.fold(0), rule=RULE)
    specs = EpisodeSampler(pool, shot=2, order="walk").draw_many(0, 14)
    return TestEpisodes(tiles, pool, specs, fit, annotation)


def given(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor


def assert_equal(first: Episode, second: Episode) -> None:
    for field in dataclasses.fields(Episode):
        one, other = getattr(first, field.name), getattr(second, field.name)
        assert (one is None) == (other is None), field.name
        assert one is None or torch.equal(one, given(other)), field.name
