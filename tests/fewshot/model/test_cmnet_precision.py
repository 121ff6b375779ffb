from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fewshot.episode import Episode
from fewshot.model.cmnet import CMNet
from fewshot.model.config import CMNetConfig
from fewshot.model.matching_config import MatchingConfig
from fewshot.model.prediction import Prediction

MakeConfig = Callable[..., CMNetConfig]
MakeEpisode = Callable[..., Episode]
Build = Callable[[CMNetConfig], CMNet]

# Eight binary digits, through a few dozen layers.
CLOSE = 0.05


def largest(one: Tensor | None, other: Tensor | None) -> float:
    assert one is not None
    assert other is not None
    return (one.float() - other.float()).abs().max().item()


def run_in_both(model: CMNet, episode: Episode) -> tuple[Prediction, Prediction]:
    """The answer under autocast to bfloat16, and without."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model(episode)
    return half, model(episode)


@pytest.mark.parametrize("decoder", ["aspp", "fem"])
@pytest.mark.parametrize(
    "matching",
    [MatchingConfig(), MatchingConfig(weights="cross", grid=4), MatchingConfig(shots="joint", annotation="soft")],
    ids=str,
)
def test_half_precision_gives_nearly_the_same_answer_and_maps(
    decoder: str, matching: MatchingConfig, make_config: MakeConfig, make_episode: MakeEpisode, build: Build
) -> None:
    config = make_config(transport="partial", decoder=decoder, matching=matching, refinement_passes=1)
    half, single = run_in_both(build(config), make_episode(shot=2))
    assert largest(half.probability, single.probability) < CLOSE
    assert largest(half.prior_map, single.prior_map) < CLOSE
    assert largest(half.transport_map, single.transport_map) < CLOSE
    assert largest(half.fg_flow_fraction, single.fg_flow_fraction) < CLOSE


def test_transport_and_what_is_read_from_it_stay_in_single_precision(
    everything: CMNetConfig, make_episode: MakeEpisode, build: Build
) -> None:
    half, _ = run_in_both(build(everything), make_episode())
    for name in ("logits", "plan", "transport_map", "prior_map", "fg_flow_fraction", "flow_entropy"):
        assert getattr(half, name).dtype == torch.float32, name


def test_maps_of_features_that_half_precision_describes_exactly_are_those_of_single_precision(
    make_config: MakeConfig, make_episode: MakeEpisode, build: Build
) -> None:
    config = make_config(transport="partial", prior_premask=False, matching=MatchingConfig(features="mid"))
    model, episode = build(config), make_episode(shot=2)
    encoded = model.encode(episode)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model.segment(encoded)
    single = model.segment(encoded)
    # Neither similarities, nor plan, filter and scaling lose a digit to autocast.
    assert largest(half.prior_map, single.prior_map) == 0
    assert largest(half.transport_map, single.transport_map) == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("decoder", ["aspp", "fem"])
def test_gradients_in_half_precision_are_finite_and_point_the_same_way(
    dtype: torch.dtype, decoder: str, make_config: MakeConfig, make_episode: MakeEpisode, build: Build
) -> None:
    model = build(make_config(transport="partial", decoder=decoder))
    episode, gradients = make_episode(), []
    for enabled in (True, False):
        model.zero_grad()
        with torch.autocast("cpu", dtype=dtype, enabled=enabled):
            loss = torch.nn.functional.cross_entropy(model(episode).logits, episode.support_masks[:, 0])
        loss.backward()
        # The loss of training has the scales of the decoder beside these logits; their heads are left out here.
        found = torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None])
        assert found.isfinite().all()
        gradients.append(found)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.95
