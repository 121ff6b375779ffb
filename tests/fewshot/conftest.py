from dataclasses import replace
from pathlib import Path

import pytest

from fewshot.data.folder import Folder
from fewshot.data.index import Index
from fewshot.data.pools import EpisodePool, evaluation_pool
from fewshot.data.synthetic import Synthetic
from fewshot.evaluation.extraction import load_features
from fewshot.evaluation.features import FeatureStore
from fewshot.model.cmnet import CMNet
from tests.fewshot.photographs import FIT, build_network, write_photographs
from tests.fewshot.training_cases import NETWORK, TINY


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def tiny_data(tiny_cache: Path) -> Synthetic:
    return Synthetic(TINY, cache=tiny_cache)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Photographs of several sizes with unknown pixels; fold 0 holds out the first two of four classes."""
    return write_photographs(tmp_path_factory.mktemp("photographs"))


@pytest.fixture(scope="session")
def photo_index(photographs: Folder) -> Index:
    return photographs.load_index(0)


@pytest.fixture(scope="session")
def photo_pool(photographs: Folder, photo_index: Index) -> EpisodePool:
    """What a test on the held-out classes draws from."""
    return evaluation_pool(photo_index.val, photographs.fold(0), rule=photographs.draw_rule)


@pytest.fixture(scope="session")
def network(photographs: Folder) -> CMNet:
    return build_network(photographs)


@pytest.fixture(scope="session")
def photo_store(network: CMNet, photographs: Folder, photo_index: Index, photo_pool: EpisodePool) -> FeatureStore:
    return load_features(network, photographs, photo_pool, FIT, digest=photo_index.val.digest)


@pytest.fixture
def tiny_network() -> CMNet:
    """A network without transport whose backbone was never trained."""
    return CMNet(replace(NETWORK, refinement_passes=0))
