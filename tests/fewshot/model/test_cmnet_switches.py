import dataclasses
from collections.abc import Callable

import pytest
import torch

from fewshot.episode import Episode
from fewshot.model.cmnet import CMNet
from fewshot.model.config import CMNetConfig
from fewshot.model.matching_config import MatchingConfig
from fewshot.model.message_flow import MessageFlowConfig

MakeEpisode = Callable[..., Episode]
Build = Callable[[CMNetConfig], CMNet]

# Each row changes one field of a network in which every module is on.
SWITCHES: list[dict[str, object]] = [
    {"backbone": "resnet50"},
    {"backbone": "vgg16"},
    {"backbone": "vgg16_bn"},
    {"backbone": "mobilenetv2"},
    {"reduction": "3x3d2"},
    {"shared_reduction": False},
    {"width": 32},
    {"position": "table"},
    {"position": "sine"},
    {"position": "none"},
    {"message_flow": ()},
    {"message_flow": ("inner",)},
    {"message_flow": ("cross", "inner")},
    {"flow": MessageFlowConfig(heads=2)},
    {"flow": MessageFlowConfig(scaled=False)},
    {"flow": MessageFlowConfig(neighbourhood=3)},
    {"flow": MessageFlowConfig(cross_keys="foreground")},
    {"flow": MessageFlowConfig(shots="joint")},
    {"prior": False},
    {"prior_premask": False},
    {"transport": "none"},
    {"transport": "full"},
    {"matching": MatchingConfig(suppliers="foreground")},
    {"matching": MatchingConfig(weights="cross")},
    {"matching": MatchingConfig(mass_fraction=0.5)},
    {"matching": MatchingConfig(annotation="soft")},
    {"matching": MatchingConfig(grid=4)},
    {"matching": MatchingConfig(shots="joint")},
    {"matching": MatchingConfig(reg=0.3)},
    {"matching": MatchingConfig(max_iter=1)},
    {"matching": MatchingConfig(tol=1e-7)},
    {"matching": MatchingConfig(mass_ratio=2.0)},
    {"matching": MatchingConfig(features="reduced")},
    {"matching": MatchingConfig(features="mid")},
    {"matching": MatchingConfig(features="high")},
    {"matching": MatchingConfig(scale_map="none")},
    {"decoder": "fem"},
    {"dilations": (2, 3)},
    {"refinement_passes": 0},
    {"refinement_passes": 2},
]


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_every_switch_changes_the_answer(
    switch: dict[str, object], everything: CMNetConfig, make_episode: MakeEpisode, build: Build
) -> None:
    episode = make_episode(batch=1, shot=2)
    # Beside the nodes that it covers, the object touches some by a part.
    episode.support_masks[..., 8:19, 8:19] = 1
    changed = dataclasses.replace(everything, **switch)  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        before, after = build(everything)(episode).logits, build(changed)(episode).logits
    assert after.isfinite().all()
    assert not torch.equal(before, after)


@pytest.mark.parametrize("matching", [MatchingConfig(mass_ratio=2.0), MatchingConfig(reg=0.3, max_iter=5)], ids=str)
def test_another_transport_problem_is_as_if_built_with_it_and_shares_every_weight(
    matching: MatchingConfig, everything: CMNetConfig, make_episode: MakeEpisode, build: Build
) -> None:
    network, episode = build(everything), make_episode(batch=1)
    other = network.with_matching(matching)
    with torch.no_grad():
        expected = build(dataclasses.replace(everything, matching=matching))(episode).logits
        assert torch.equal(other(episode).logits, expected)
    assert other.config == dataclasses.replace(everything, matching=matching)
    assert network.config == everything
    pairs = zip(network.state_dict().values(), other.state_dict().values(), strict=True)
    assert all(mine.data_ptr() == theirs.data_ptr() for mine, theirs in pairs)
    assert not other.training


def test_a_network_without_transport_has_no_problem_to_change(everything: CMNetConfig, build: Build) -> None:
    network = build(dataclasses.replace(everything, transport="none"))
    with pytest.raises(ValueError, match=r"Found `transport = 'none'`\. Use a network that was trained with 'partial'"):
        network.with_matching(MatchingConfig())
