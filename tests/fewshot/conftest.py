from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fewshot.data.synthetic import LabelledImages, SyntheticRecipe, load_split
from fewshot.demo import DemoConfig, run_demo
from fewshot.features import FeatureStore
from fewshot.model.cmnet import CMNet
from fewshot.model.config import CMNetConfig
from fewshot.pretraining import PretrainingConfig
from fewshot.report import Run
from fewshot.training import TrainingConfig

TINY = SyntheticRecipe(base_classes=3, novel_classes=2, base_images=8, novel_images=5)


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def tiny_base(tiny_cache: Path) -> LabelledImages:
    return load_split(TINY, "base", cache=tiny_cache)


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
def tiny_store(tiny_network: CMNet, tiny_base: LabelledImages) -> FeatureStore:
    return FeatureStore(tiny_network, tiny_base, description="Features")


@pytest.fixture(scope="session")
def tiny_demo(tmp_path_factory: pytest.TempPathFactory, tiny_cache: Path) -> DemoConfig:
    """The demonstration in miniature: every stage, seconds in all."""
    return DemoConfig(
        output=tmp_path_factory.mktemp("demo"),
        cache=tiny_cache,
        episodes=8,
        shots=(1, 2),
        width=8,
        workers=1,
        data=TINY,
        pretraining=PretrainingConfig(steps=6, batch_size=4),
        training=TrainingConfig(steps=5, batch_size=2, warmup=1),
    )


@pytest.fixture(scope="session")
def tiny_run(tiny_demo: DemoConfig) -> Run:
    """What the miniature gave when its caches were empty; its report lies in `tiny_demo.output`."""
    torch.manual_seed(0)
    return run_demo(replace(tiny_demo, cache=tiny_demo.output / "cache"))
