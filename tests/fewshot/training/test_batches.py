from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from fewshot.data.augmentation import Augmentation
from fewshot.data.episodes import TrainingEpisodes
from fewshot.data.pools import evaluation_pool
from fewshot.data.sampling import EpisodeSampler
from fewshot.data.synthetic import Synthetic
from fewshot.model.cmnet import CMNet
from fewshot.training.batches import BatchSource, FeatureBatches, PixelBatches, StepNumbers, load_batches
from tests.fewshot.training_cases import NETWORK, make_batches, make_network, name_by_content

CROP = Augmentation(size=48, scale=(0.5, 0.9))


@pytest.fixture(scope="module")
def network() -> CMNet:
    return make_network()


@pytest.fixture(scope="module")
def features(network: CMNet, tiny_cache: Path) -> FeatureBatches:
    return make_batches(network, tiny_cache)


@pytest.fixture(scope="module")
def pixels(features: FeatureBatches, tiny_data: Synthetic) -> PixelBatches:
    return PixelBatches(TrainingEpisodes(tiny_data, features.sampler, CROP, seed=2, length=16))


@pytest.fixture(scope="module", params=["features", "pixels"])
def source(request: pytest.FixtureRequest) -> BatchSource:
    return request.getfixturevalue(request.param)


def test_steps_take_items_in_order() -> None:
    assert list(StepNumbers(first=0, steps=3, batch_size=2)) == [(0, 1), (2, 3), (4, 5)]


def test_a_resumed_training_begins_with_the_items_of_its_step_and_counts_all_steps() -> None:
    numbers = StepNumbers(first=2, steps=3, batch_size=2)
    assert list(numbers) == [(4, 5)]
    assert len(numbers) == 3


def test_processes_share_the_items_of_every_step() -> None:
    shares = [list(StepNumbers(first=1, steps=3, batch_size=4, rank=rank, processes=2)) for rank in range(2)]
    assert [first + second for first, second in zip(*shares, strict=True)] == [(4, 5, 6, 7), (8, 9, 10, 11)]


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Found `batch_size = 4` for 3 processes\. Change one of them"):
        StepNumbers(first=0, steps=1, batch_size=4, processes=3)


def test_equal_numbers_give_equal_batches(source: BatchSource) -> None:
    source[(5, 6)]
    first, again, other = (
        name_by_content(source[(0, 1)]),
        name_by_content(source[(0, 1)]),
        name_by_content(source[(1, 2)]),
    )
    assert first == again != other


@pytest.mark.parametrize("workers", [0, 2])
def test_loaded_batches_are_those_of_the_source_whoever_reads_them(source: BatchSource, workers: int) -> None:
    loader = load_batches(source, StepNumbers(first=1, steps=4, batch_size=2), workers=workers)
    expected = [name_by_content(source[(2 * step, 2 * step + 1)]) for step in range(1, 4)]
    assert [name_by_content(batch) for batch in loader] == expected


def test_features_are_those_of_the_samplers_episodes(features: FeatureBatches) -> None:
    batch, specs = features[(3, 4)], features.sampler.draw_many(3, 2)
    assert batch.class_id is not None
    assert batch.class_id.tolist() == [spec.class_id for spec in specs]
    assert torch.equal(batch.query.mid, features.store.content.features.mid[[spec.query for spec in specs]])


def test_pixels_are_those_of_the_samplers_episodes_augmented(pixels: PixelBatches) -> None:
    batch = pixels[(3, 4)]
    assert batch.class_id is not None
    assert batch.class_id.tolist() == [spec.class_id for spec in pixels.episodes.sampler.draw_many(3, 2)]
    assert batch.query_image.shape == (2, 3, 48, 48)


def test_sources_describe_what_their_items_depend_on(
    features: FeatureBatches, pixels: PixelBatches, tiny_data: Synthetic
) -> None:
    assert features.describe()["backbone"] == features.store.backbone
    assert pixels.describe()["augmentation"] == asdict(CROP)
    assert features.describe()["episodes"] == pixels.describe()["episodes"]
    other = EpisodeSampler(pixels.pool, seed=99)
    elsewhere = PixelBatches(TrainingEpisodes(tiny_data, other, CROP, seed=2, length=16))
    assert elsewhere.describe() != pixels.describe()


def test_features_and_episodes_of_different_pools_are_refused(features: FeatureBatches, tiny_data: Synthetic) -> None:
    novel = evaluation_pool(tiny_data.load_index(0).val, tiny_data.fold(0), rule=tiny_data.draw_rule)
    with pytest.raises(ValueError, match=r"Found \d+ images with features and \d+ to draw from, in fold 0 .*Load the"):
        FeatureBatches(features.store, EpisodeSampler(novel))


def test_features_of_another_backbone_are_refused(features: FeatureBatches) -> None:
    other = make_network()
    with torch.no_grad():
        next(other.backbone.parameters()).add_(1.0)
    with pytest.raises(ValueError, match=r"those of the network's own backbone\. Found"):
        features.check(other, 1)


def test_features_of_a_backbone_that_drifts_are_refused(features: FeatureBatches) -> None:
    with pytest.raises(ValueError, match=r"Found `backbone_bn = 'train'` and .*\. Train on `PixelBatches`, or"):
        features.check(make_network(replace(NETWORK, backbone_bn="train")), 1)


def test_too_few_episodes_are_refused(pixels: PixelBatches, network: CMNet) -> None:
    pixels.check(network, 16)
    with pytest.raises(ValueError, match=r"17 in all\. Found 16\. Give the episodes a `length` of"):
        pixels.check(network, 17)
