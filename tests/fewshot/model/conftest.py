from collections.abc import Callable

import pytest
import torch

from fewshot.episode import Episode
from fewshot.model.cmnet import CMNet
from fewshot.model.config import CMNetConfig
from fewshot.model.nodes import NodeMasks


@pytest.fixture
def make_config() -> Callable[..., CMNetConfig]:
    """A small network with the light decoder, without transport and refinement; any field by name."""
    small = {
        "backbone": "small",
        "width": 16,
        "transport": "none",
        "decoder": "aspp",
        "dilations": (1, 2),
        "dropout": 0.0,
        "refinement_passes": 0,
    }

    def make(**fields: object) -> CMNetConfig:
        return CMNetConfig(**{**small, **fields})  # pyright: ignore[reportArgumentType]

    return make


@pytest.fixture
def everything(make_config: Callable[..., CMNetConfig]) -> CMNetConfig:
    """A small network in which every module is on."""
    return make_config(transport="partial", refinement_passes=1)


@pytest.fixture
def build() -> Callable[[CMNetConfig], CMNet]:
    """A network in eval mode, always of the same weights, whose parts that start small have grown as in training."""

    def make(config: CMNetConfig) -> CMNet:
        torch.manual_seed(0)
        model = CMNet(config)
        for part in (model.message_flow, model.position):
            for parameter in part.parameters():
                torch.nn.init.normal_(parameter, std=0.3)
        return model.eval()

    return make


@pytest.fixture
def make_episode() -> Callable[..., Episode]:
    """Random images with a square object in each support."""

    def make(*, batch: int = 2, shot: int = 1, side: int = 32, query: tuple[int, int] = (32, 32)) -> Episode:
        masks = torch.zeros(batch, shot, side, side, dtype=torch.long)
        masks[..., side // 4 : side // 2, side // 4 : side // 2] = 1
        return Episode(
            support_images=torch.randn(batch, shot, 3, side, side),
            support_masks=masks,
            query_image=torch.randn(batch, 3, *query),
        )

    return make


@pytest.fixture
def make_masks() -> Callable[..., NodeMasks]:
    """Nodes that are all valid, the object in the upper left quarter of each support."""

    def make(*, batch: int = 2, shot: int = 1, grid: tuple[int, int] = (4, 5)) -> NodeMasks:
        foreground = torch.zeros(batch, shot, *grid)
        foreground[..., : grid[0] // 2, : grid[1] // 2] = 1.0
        valid = torch.ones(batch, shot, *grid, dtype=torch.bool)
        return NodeMasks(query_valid=valid[:, 0], support_valid=valid, foreground=foreground)

    return make
