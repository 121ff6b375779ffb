"""What transport finds before anything is trained: maps from hand-made features on unseen synthetic classes.

The order full < prior < partial with all suppliers < partial from the object alone is what the network later builds on.
"""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fewshot.data.pools import evaluation_pool
from fewshot.data.sampling import EpisodeSampler
from fewshot.data.synthetic import Synthetic, SyntheticRecipe
from fewshot.model.matching import MatchingConfig, OptimalTransportMatching
from fewshot.model.nodes import NodeMasks, foreground_share
from fewshot.model.prior import compute_prior

PAIRS = 120
GRID = (16, 16)


@dataclass(frozen=True)
class Pairs:
    query: Tensor
    supports: Tensor
    masks: NodeMasks
    truth: Tensor


def describe_nodes(images: Tensor) -> Tensor:
    """Mean, deviation and gradients of the colours in each node, and their mean around it; standardised."""
    pixels = images.float() / 255
    mean = functional.avg_pool2d(pixels, 4)
    deviation = (functional.avg_pool2d(pixels.square(), 4) - mean.square()).clamp(min=0).sqrt()
    gradients = [functional.avg_pool2d(pixels.diff(dim=dim).abs(), 4, ceil_mode=True) for dim in (-1, -2)]
    around = functional.avg_pool2d(functional.pad(mean, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    features = torch.cat([mean, deviation, *gradients, around], dim=1)
    return (features - features.mean((0, 2, 3), keepdim=True)) / features.std((0, 2, 3), keepdim=True)


def average_precision(scores: Tensor, truth: Tensor) -> Tensor:
    hits = truth[scores.argsort(descending=True)].float()
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)
    return (precision * hits).sum() / hits.sum()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    # Base pictures are of no use here; how many there are changes no novel one.
    recipe = SyntheticRecipe(base_images=1, novel_images=20)
    synthetic = Synthetic(recipe, cache=tmp_path_factory.mktemp("cache"))
    pool = evaluation_pool(synthetic.load_index(0).val, synthetic.fold(0), rule=synthetic.draw_rule)
    specs = EpisodeSampler(pool).draw_many(0, PAIRS)
    drawn = [synthetic.read(entry) for entry in pool.entries]
    labels = torch.stack([each.labels for each in drawn])
    query = torch.tensor([spec.query for spec in specs])
    support = torch.tensor([spec.supports[0] for spec in specs])
    wanted = torch.tensor([spec.class_id for spec in specs])[:, None, None]
    share, truth = (
        foreground_share((labels[images] == wanted).long().unsqueeze(1), GRID) for images in (support, query)
    )
    valid = torch.ones(PAIRS, *GRID, dtype=torch.bool)
    features = describe_nodes(torch.stack([each.image for each in drawn]))
    masks = NodeMasks(valid, valid.unsqueeze(1), share)
    return Pairs(features[query], features[support].unsqueeze(1), masks, truth[:, 0] >= 0.5)


@pytest.fixture(scope="module")
def precision(pairs: Pairs) -> dict[str, float]:
    """Mean average precision of each map over the pairs whose query shows the object in some node."""

    def match(transport: str, suppliers: str) -> Tensor:
        config = MatchingConfig(suppliers=suppliers)  # pyright: ignore[reportArgumentType]
        matching = OptimalTransportMatching(transport, config)  # pyright: ignore[reportArgumentType]
        return matching(pairs.query, pairs.supports, pairs.masks).map

    maps = {
        "prior": compute_prior(pairs.query, pairs.supports, pairs.masks),
        "full": match("full", "all"),
        "partial, all": match("partial", "all"),
        "partial, foreground": match("partial", "foreground"),
    }
    shown = pairs.truth.flatten(1).any(1)
    return {
        name: torch.stack(
            [
                average_precision(*pair)
                for pair in zip(scores[shown].flatten(1), pairs.truth[shown].flatten(1), strict=True)
            ]
        )
        .mean()
        .item()
        for name, scores in maps.items()
    }


def test_partial_transport_finds_unseen_objects_better_than_full(precision: dict[str, float]) -> None:
    assert precision["partial, all"] >= precision["full"] + 0.02


def test_full_transport_finds_them_worse_than_the_prior(precision: dict[str, float]) -> None:
    assert precision["full"] < precision["prior"]


def test_suppliers_on_the_object_alone_give_the_best_map_before_training(precision: dict[str, float]) -> None:
    assert precision["partial, foreground"] > precision["partial, all"]
    assert precision["partial, foreground"] >= 0.64


def test_every_map_is_better_than_the_share_of_object_nodes(precision: dict[str, float], pairs: Pairs) -> None:
    chance = pairs.truth.float().mean().item()
    assert min(precision.values()) > 2 * chance
