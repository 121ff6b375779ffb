import dataclasses
from collections.abc import Callable

import pytest
from torch.testing import assert_close

from fewshot.episode import Episode
from fewshot.model.cmnet import CMNet
from fewshot.model.config import CMNetConfig
from fewshot.model.matching_config import MatchingConfig
from fewshot.model.message_flow import MessageFlowConfig

MakeConfig = Callable[..., CMNetConfig]
MakeEpisode = Callable[..., Episode]
Build = Callable[[CMNetConfig], CMNet]

RULES: list[dict[str, object]] = [
    {},
    {"decoder": "fem"},
    {"flow": MessageFlowConfig(shots="joint")},
    {"matching": MatchingConfig(shots="joint")},
    {"matching": MatchingConfig(weights="cross", shots="joint", grid=4)},
    {"transport": "full"},
]
EVERY_RULE = pytest.mark.parametrize("rule", RULES, ids=str)


def configure(make_config: MakeConfig, rule: dict[str, object]) -> CMNetConfig:
    return make_config(**{"transport": "partial", "refinement_passes": 1, **rule})


@EVERY_RULE
def test_copies_of_one_shot_equal_one_shot(
    rule: dict[str, object], make_config: MakeConfig, make_episode: MakeEpisode, build: Build
) -> None:
    model, episode = build(configure(make_config, rule)), make_episode()
    copies = dataclasses.replace(
        episode,
        support_images=episode.support_images.expand(-1, 5, -1, -1, -1),
        support_masks=episode.support_masks.expand(-1, 5, -1, -1),
    )
    assert_close(model(copies).logits, model(episode).logits, rtol=1e-3, atol=1e-4)


@EVERY_RULE
def test_the_order_of_shots_does_not_matter(
    rule: dict[str, object], make_config: MakeConfig, make_episode: MakeEpisode, build: Build
) -> None:
    model, episode = build(configure(make_config, rule)), make_episode(shot=3)
    episode.support_masks[:, 1, :, 16:] = 1
    flipped = dataclasses.replace(
        episode, support_images=episode.support_images.flip(1), support_masks=episode.support_masks.flip(1)
    )
    assert_close(model(flipped).logits, model(episode).logits, rtol=1e-3, atol=1e-4)
