import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from fewshot.data.fitting import Fit
from fewshot.data.folder import Folder
from fewshot.data.index import Index
from fewshot.data.pools import EpisodePool
from fewshot.evaluation.extraction import load_features, measure_features
from fewshot.evaluation.features import FeatureStore
from fewshot.model.cmnet import CMNet
from tests.fewshot.photographs import FIT, build_network, write_photographs


class Extractor:
    """Loads features from one cache, counting what the backbone has seen of it."""

    def __init__(self, cache: Path, data: Folder, pool: EpisodePool, digest: str) -> None:
        self.cache, self.data, self.pool, self.digest = cache, data, pool, digest
        self.images = 0

    def __call__(self, network: CMNet, *, fit: Fit = FIT, high: bool = False) -> FeatureStore:
        handle = network.backbone.register_forward_pre_hook(self._count)
        store = load_features(network, self.data, self.pool, fit, digest=self.digest, cache=self.cache, high=high)
        handle.remove()
        return store

    def _count(self, _: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        self.images += len(inputs[0])


@pytest.fixture
def extract(tmp_path: Path, photographs: Folder, photo_index: Index, photo_pool: EpisodePool) -> Extractor:
    return Extractor(tmp_path / "cache", photographs, photo_pool, photo_index.val.digest)


def assert_same(first: FeatureStore, second: FeatureStore) -> None:
    assert torch.equal(first.content.features.mid, second.content.features.mid)
    assert torch.equal(first.content.features.high, second.content.features.high)
    assert first.content.placements == second.content.placements
    assert all(
        torch.equal(first.content.labels[number], second.content.labels[number])
        for number in range(len(first.pool.entries))
    )


def test_second_time_reads_what_the_first_computed(extract: Extractor, network: CMNet) -> None:
    first = extract(network, high=True)
    assert extract.images == len(extract.pool.entries)
    second = extract(network, high=True)
    assert extract.images == len(extract.pool.entries), "nothing is computed again"
    assert_same(first, second)


def test_folder_changes_nothing(extract: Extractor, network: CMNet) -> None:
    kept = extract(network)
    unkept = load_features(network, extract.data, extract.pool, FIT, digest=extract.digest)
    assert_same(kept, unkept)


def test_rows_of_a_table_share_features_though_only_some_need_the_high_ones(extract: Extractor, network: CMNet) -> None:
    plain = extract(network)
    assert [path.name.rpartition("-")[2] for path in extract.cache.iterdir()] == ["mid.safetensors"]
    rich = extract(network, high=True)
    assert sorted(path.name.rpartition("-")[2] for path in extract.cache.iterdir()) == [
        "high.safetensors",
        "mid.safetensors",
    ]
    assert torch.equal(plain.content.features.mid, rich.content.features.mid)
    seen = extract.images
    assert_same(plain, extract(network))
    assert extract.images == seen


@pytest.mark.parametrize("part", ["mid", "high"])
def test_damaged_file_is_made_again_with_a_warning(
    part: str, extract: Extractor, network: CMNet, caplog: pytest.LogCaptureFixture
) -> None:
    first = extract(network, high=True)
    (path,) = extract.cache.glob(f"*{part}.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[:-3] + b"\0\1\2")
    with caplog.at_level(logging.WARNING):
        assert_same(extract(network, high=True), first)
    assert f"Found other content in {path}" in caplog.text
    assert path.read_bytes() == whole


def test_whatever_the_features_depend_on_makes_others(
    extract: Extractor, network: CMNet, photographs: Folder, tmp_path: Path
) -> None:
    def count() -> int:
        return len(list(extract.cache.iterdir()))

    extract(network)
    other = build_network(photographs)
    with torch.no_grad():
        next(other.backbone.parameters()).mul_(1.001)
    extract(other)
    assert count() == 2, "weights"
    extract(network, fit=Fit(64, "square"))
    assert count() == 3, "fit"
    extract.digest = "another"
    extract(network)
    assert count() == 4, "lists"
    extract.pool = replace(extract.pool, entries=extract.pool.entries[:-1])
    extract(network)
    assert count() == 5, "images"


def test_other_photographs_under_the_same_names_make_other_features(
    extract: Extractor, network: CMNet, tmp_path: Path
) -> None:
    copy = write_photographs(tmp_path / "copy")
    extract(network)
    extract.data = copy
    extract(network)
    assert len(list(extract.cache.iterdir())) == 1, "the same photographs elsewhere are the same"
    first = copy.root / extract.pool.entries[0].image
    first.write_bytes((copy.root / extract.pool.entries[4].image).read_bytes())
    (copy.root / extract.pool.entries[0].mask).write_bytes((copy.root / extract.pool.entries[4].mask).read_bytes())
    extract(network)
    assert len(list(extract.cache.iterdir())) == 2


def test_batches_and_workers_change_nothing_but_time(extract: Extractor, network: CMNet) -> None:
    expected = load_features(network, extract.data, extract.pool, FIT, digest="", batch_size=3)
    found = load_features(network, extract.data, extract.pool, FIT, digest="", batch_size=3, workers=2)
    assert_same(found, expected)


def test_network_in_training_has_the_features_of_one_that_is_not(extract: Extractor, photographs: Folder) -> None:
    drifting = build_network(photographs, backbone_bn="train")
    expected = load_features(drifting, extract.data, extract.pool, FIT, digest="")
    drifting.train()
    found = load_features(drifting, extract.data, extract.pool, FIT, digest="")
    assert drifting.training
    assert drifting.backbone.training
    assert_same(found, expected)
    assert found.backbone == expected.backbone, "statistics did not move"


@pytest.mark.parametrize("prior", [False, True])
def test_room_that_features_take_is_known_before_they_are_computed(
    prior: bool, extract: Extractor, photographs: Folder
) -> None:
    network = build_network(photographs, prior=prior)
    content = extract(network, high=prior).content
    taken = content.features.mid.nbytes + content.features.high.nbytes
    assert measure_features(network, extract.pool, FIT) == taken


def test_features_beyond_half_precision_are_refused(extract: Extractor, photographs: Folder) -> None:
    network = build_network(photographs)
    with torch.no_grad():
        for layer in network.backbone.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.mul_(40)
    with pytest.raises(
        ValueError, match=r"below 65504 to be kept in float16\. Found [\d.e+]+ among .*0 to 7\. Evaluate"
    ):
        extract(network)
