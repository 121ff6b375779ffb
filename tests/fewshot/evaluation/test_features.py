from dataclasses import replace

import pytest
import torch

from fewshot.data.boxes import SupportAnnotation
from fewshot.data.collation import collate_tests
from fewshot.data.episodes import TestEpisodes
from fewshot.data.fitting import Fit, Mode
from fewshot.data.folder import Folder
from fewshot.data.folds import Fold
from fewshot.data.index import Index
from fewshot.data.pools import Convention, EpisodePool, relabel_held_out
from fewshot.data.sampling import EpisodeSampler, EpisodeSpec
from fewshot.evaluation.extraction import load_features
from fewshot.evaluation.features import FeatureStore, needs_high
from fewshot.model.cmnet import CMNet
from fewshot.model.config import CMNetConfig
from fewshot.model.encoded import EncodedEpisode
from fewshot.model.matching import MatchingConfig
from tests.fewshot.photographs import FIT, build_network

BOXES = SupportAnnotation(kind="box")
HALF = 2e-3
"""Rounding to 11 bits, of features of the order of 1."""


@pytest.fixture
def specs(photo_pool: EpisodePool) -> tuple[EpisodeSpec, ...]:
    """Episodes of photographs of different sizes."""
    return EpisodeSampler(photo_pool, shot=2, order="walk").draw_many(0, len(photo_pool.entries))


def encode(
    network: CMNet,
    data: Folder,
    pool: EpisodePool,
    specs: tuple[EpisodeSpec, ...],
    fit: Fit,
    annotation: SupportAnnotation,
) -> EncodedEpisode:
    """Read the images and run the backbone, as without a store."""
    tests = TestEpisodes(data, pool, specs, fit, annotation)
    with torch.inference_mode():
        return network.encode(collate_tests([tests[number] for number in range(len(specs))]).episode)


def same(first: torch.Tensor | None, second: torch.Tensor | None) -> bool:
    return first is second is None or (first is not None and second is not None and torch.equal(first, second))


@pytest.mark.parametrize("mode", ["pad", "square", "pfenet"])
@pytest.mark.parametrize("annotation", [SupportAnnotation(), BOXES], ids=["mask", "box"])
def test_gathered_episodes_are_those_of_the_images_up_to_half_precision(
    mode: Mode,
    annotation: SupportAnnotation,
    network: CMNet,
    photographs: Folder,
    photo_index: Index,
    photo_pool: EpisodePool,
    specs: tuple[EpisodeSpec, ...],
) -> None:
    fit = Fit(64, mode)
    store = load_features(network, photographs, photo_pool, fit, digest=photo_index.val.digest, high=True)
    found, expected = store.gather(specs, annotation), encode(network, photographs, photo_pool, specs, fit, annotation)
    for ours, theirs in ((found.query, expected.query), (found.supports, expected.supports)):
        assert ours.mid.dtype == ours.high.dtype == torch.float16
        torch.testing.assert_close(ours.mid.float(), theirs.mid, rtol=HALF, atol=HALF)
        torch.testing.assert_close(ours.high.float(), theirs.high, rtol=HALF, atol=HALF)
    for name in ("support_masks", "query_mask", "query_valid", "support_valid", "class_id"):
        assert same(getattr(found, name), getattr(expected, name)), name
    assert found.size == expected.size == (64, 64)


def test_network_answers_stored_features_as_it_answers_images(
    network: CMNet, photographs: Folder, photo_store: FeatureStore, specs: tuple[EpisodeSpec, ...]
) -> None:
    with torch.inference_mode():
        found = network.segment(photo_store.gather(specs)).logits
        expected = network.segment(
            encode(network, photographs, photo_store.pool, specs, FIT, SupportAnnotation())
        ).logits
    assert expected.std() > 0.3, "the answers are not all alike"
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-2)


@pytest.mark.parametrize("convention", ["keep", "ignore"])
def test_held_out_objects_are_relabelled_in_training_images(
    convention: Convention, network: CMNet, photographs: Folder, photo_pool: EpisodePool
) -> None:
    pool = replace(photo_pool, fold=Fold(0, held_in=(1,), held_out=(2,)), convention=convention)
    labels = load_features(network, photographs, pool, FIT, digest="").content.labels
    for number, entry in enumerate(pool.entries):
        original = photographs.read(entry).labels
        assert torch.equal(labels[number], relabel_held_out(original, pool.fold, convention))
        assert torch.equal(labels[number], original) == (2 not in entry.pixels)


def test_truth_is_at_the_size_of_the_photograph(
    photographs: Folder, photo_store: FeatureStore, specs: tuple[EpisodeSpec, ...]
) -> None:
    for spec in specs:
        labels = photographs.read(photo_store.pool.entries[spec.query]).labels
        truth = photo_store.truth(spec)
        assert truth.shape == labels.shape == photo_store.placement(spec).original_size
        assert torch.equal(truth == 1, labels == spec.class_id)
        assert torch.equal(truth == 255, labels == -1)


def test_episodes_without_padding_have_no_masks_of_it(photo_store: FeatureStore) -> None:
    labels = photo_store.content.labels
    square = [number for number in range(len(labels)) if labels[number].shape == (64, 64)]
    encoded = photo_store.gather((EpisodeSpec(1, square[0], (square[1],)),))
    assert encoded.query_valid is encoded.support_valid is None


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (CMNetConfig(prior=False, transport="none"), False),
        (CMNetConfig(prior=False, transport="partial"), False),
        (CMNetConfig(prior=True, transport="none"), True),
        (CMNetConfig(prior=False, transport="partial", matching=MatchingConfig(features="high")), True),
        (CMNetConfig(prior=False, transport="none", matching=MatchingConfig(features="high")), False),
    ],
    ids=["neither", "transport", "prior", "transport of high features", "transport off"],
)
def test_high_features_are_needed_by_prior_and_by_transport_between_them(config: CMNetConfig, expected: bool) -> None:
    assert needs_high(config) is expected


def test_network_without_need_of_high_features_never_misses_them(photo_store: FeatureStore, network: CMNet) -> None:
    assert not needs_high(network.config)
    assert photo_store.content.features.high.shape[1] == 0
    photo_store.check(network)


def test_network_that_needs_high_features_is_told_that_they_are_missing(
    photo_store: FeatureStore, photographs: Folder, network: CMNet
) -> None:
    needy = build_network(photographs, prior=True)
    needy.backbone.load_state_dict(network.backbone.state_dict())
    with pytest.raises(ValueError, match=r"Found none in the store\. Load the features with `high=True`"):
        photo_store.check(needy)


def test_features_of_another_backbone_are_refused(photo_store: FeatureStore, tiny_network: CMNet) -> None:
    with pytest.raises(ValueError, match=r"Found features by the weights \w{12} for a network with \w{12}\. Load them"):
        photo_store.check(tiny_network)
