from pathlib import Path

import pytest

from fewshot.data.index import Index
from fewshot.data.pools import EpisodePool, evaluation_pool
from fewshot.data.synthetic import Synthetic, SyntheticRecipe
from fewshot.data.fitting import Fit
from fewshot.extraction import load_features
from fewshot.features import FeatureStore
from fewshot.model.cmnet import CMNet
from fewshot.model.config import CMNetConfig

TINY = SyntheticRecipe(base_classes=3, novel_classes=2, base_images=8, novel_images=5)


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def tiny_data(tiny_cache: Path) -> Synthetic:
    return Synthetic(TINY, cache=tiny_cache)


@pytest.fixture(scope="session")
def tiny_index(tiny_data: Synthetic) -> Index:
    return tiny_data.load_index()


@pytest.fixture(scope="session")
def tiny_pool(tiny_data: Synthetic, tiny_index: Index) -> EpisodePool:
    """The pictures of the novel classes."""
    return evaluation_pool(tiny_index.val, tiny_data.fold(0), rule=tiny_data.draw_rule)


@pytest.fixture
def tiny_network() -> CMNet:
    """A network without transport whose backbone was never trained."""
    config = CMNetConfig(
        backbone="small",
        width=16,
        position="none",
        message_flow=(),
        prior=False,
        transport="none",
        dilations=(1, 2),
        dropout=0.1,
    )
    return CMNet(config)


@pytest.fixture
def tiny_store(tiny_network: CMNet, tiny_data: Synthetic, tiny_index: Index, tiny_pool: EpisodePool) -> FeatureStore:
    return load_features(tiny_network, tiny_data, tiny_pool, Fit(64), digest=tiny_index.val.digest)
