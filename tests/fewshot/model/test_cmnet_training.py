import dataclasses
from collections.abc import Callable

import pytest
import torch

from fewshot.episode import Episode
from fewshot.model.cmnet import CMNet
from fewshot.model.config import CMNetConfig
from fewshot.model.matching_config import MatchingConfig

MakeConfig = Callable[..., CMNetConfig]
MakeEpisode = Callable[..., Episode]
Build = Callable[[CMNetConfig], CMNet]


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_refinement_probability_decides_the_passes_of_training(
    probability: float, everything: CMNetConfig, make_episode: MakeEpisode
) -> None:
    model = CMNet(dataclasses.replace(everything, refinement_probability=probability)).train()
    prediction = model(make_episode())
    assert len(prediction.auxiliary) == probability
    assert prediction.auxiliary_weights == (1.0,) * int(probability)


def test_dropout_acts_in_training_only(make_config: MakeConfig, make_episode: MakeEpisode) -> None:
    model, episode = CMNet(make_config(dropout=0.5)), make_episode()
    assert not torch.equal(model.train()(episode).logits, model(episode).logits)
    assert torch.equal(model.eval()(episode).logits, model(episode).logits)


def test_detaching_stops_the_gradient_of_the_plan_alone(make_config: MakeConfig, make_episode: MakeEpisode) -> None:
    episode, gradients = make_episode(), []
    for detach in (False, True):
        torch.manual_seed(0)
        model = CMNet(make_config(transport="partial", matching=MatchingConfig(detach=detach)))
        prediction = model(episode)
        assert prediction.transport_map is not None
        assert prediction.transport_map.requires_grad != detach
        prediction.logits[:, 1].sum().backward()
        gradients.append(model.reduction.get_parameter("0.weight").grad)
    assert not torch.allclose(gradients[0], gradients[1])


def test_the_loss_weighs_passes_alike_and_scales_of_a_pass_as_one(
    make_config: MakeConfig, make_episode: MakeEpisode
) -> None:
    model = CMNet(make_config(decoder="fem", refinement_passes=2, refinement_probability=1.0))
    prediction = model.train()(make_episode())
    assert prediction.auxiliary_weights == (*[0.25] * 8, 1.0)
    assert len(prediction.auxiliary) == 9
    assert model.eval()(make_episode()).auxiliary == ()


@pytest.mark.parametrize("decoder", ["aspp", "fem"])
@pytest.mark.parametrize("transport", ["none", "full", "partial"])
def test_every_trained_weight_gets_a_finite_gradient(
    decoder: str, transport: str, make_config: MakeConfig, make_episode: MakeEpisode
) -> None:
    model = CMNet(make_config(decoder=decoder, transport=transport, refinement_passes=1)).train()
    prediction = model(make_episode(shot=2))
    torch.stack([one.square().mean() for one in (prediction.logits, *prediction.auxiliary)]).sum().backward()
    for name, parameter in model.named_parameters():
        if not name.startswith("backbone."):
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_one_gradient_step_lowers_the_loss(everything: CMNetConfig, make_episode: MakeEpisode) -> None:
    model, episode = CMNet(everything).eval(), make_episode()
    truth = episode.support_masks[:, 0]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(episode).logits, truth)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
