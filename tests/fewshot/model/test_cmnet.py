import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch.testing import assert_close

from fewshot.episode import Episode
from fewshot.model.cmnet import CMNet, count_parameters
from fewshot.model.config import CMNetConfig
from fewshot.model.decoder import Decoded
from fewshot.model.matching_config import MatchingConfig

MakeConfig = Callable[..., CMNetConfig]
MakeEpisode = Callable[..., Episode]
Build = Callable[[CMNetConfig], CMNet]


@pytest.mark.parametrize("size", [(32, 32), (41, 57), (25, 32)])
@pytest.mark.parametrize("decoder", ["aspp", "fem"])
def test_logits_have_the_size_of_the_query_which_may_differ_from_the_support(
    size: tuple[int, int], decoder: str, make_config: MakeConfig, make_episode: MakeEpisode
) -> None:
    model = CMNet(make_config(decoder=decoder, transport="partial"))
    prediction = model(make_episode(query=size))
    assert prediction.logits.shape == (2, 2, *size)
    assert prediction.probability.shape == prediction.mask.shape == (2, *size)
    assert all(logits.shape == (2, 2, *size) for logits in prediction.auxiliary)


def test_segmenting_stored_half_precision_features_equals_the_forward_pass(
    everything: CMNetConfig, make_episode: MakeEpisode
) -> None:
    model, episode = CMNet(everything).eval(), make_episode(shot=2)
    encoded = model.encode(episode)
    assert torch.equal(model.segment(encoded).logits, model(episode).logits)
    stored = dataclasses.replace(
        encoded, query=encoded.query.to(torch.float16), supports=encoded.supports.to(torch.float16)
    )
    assert_close(model.segment(stored).logits, model(episode).logits, rtol=0.02, atol=0.02)


def test_an_encoded_episode_carries_everything_but_the_images(
    everything: CMNetConfig, make_episode: MakeEpisode
) -> None:
    episode = make_episode(batch=3, shot=2, query=(40, 24))
    valid, number = torch.ones(3, 40, 24, dtype=torch.bool), torch.arange(3)
    episode = dataclasses.replace(episode, query_valid=valid, query_mask=valid.long(), class_id=number)
    encoded = CMNet(everything).encode(episode).to("cpu")
    assert encoded.size == (40, 24)
    assert (len(encoded.query.mid), len(encoded.supports.high)) == (3, 6)
    for name in ("support_masks", "query_valid", "support_valid", "query_mask", "class_id"):
        assert getattr(encoded, name) is getattr(episode, name)


@pytest.mark.parametrize("grid", [None, 4])
def test_a_prediction_tells_how_the_transport_went(
    grid: int | None, make_config: MakeConfig, make_episode: MakeEpisode
) -> None:
    prediction = CMNet(make_config(transport="partial", matching=MatchingConfig(grid=grid)))(make_episode(shot=2))
    side = grid or 8
    assert prediction.query_grid == prediction.support_grid == (side, side)
    assert prediction.plan is not None
    assert prediction.plan.shape == (2, 2, side**2, side**2)
    for share in (prediction.fg_flow_fraction, prediction.flow_entropy):
        assert share is not None
        assert share.shape == (2,)
        assert (share > 0).all()
        assert (share < 1).all()


def test_without_transport_there_is_nothing_to_tell(make_config: MakeConfig, make_episode: MakeEpisode) -> None:
    prediction = CMNet(make_config())(make_episode())
    for name in ("transport_map", "plan", "query_grid", "support_grid", "fg_flow_fraction", "flow_entropy"):
        assert getattr(prediction, name) is None


def test_tasks_of_a_batch_do_not_mix(everything: CMNetConfig, make_episode: MakeEpisode) -> None:
    model, episode = CMNet(everything).eval(), make_episode(batch=3)
    alone = Episode(episode.support_images[1:2], episode.support_masks[1:2], episode.query_image[1:2])
    assert_close(model(episode).logits[1:2], model(alone).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("transport", "suppliers"), [("none", "all"), ("full", "all"), ("partial", "all"), ("partial", "foreground")]
)
@pytest.mark.parametrize("pixels", [0, 1])
def test_an_empty_or_tiny_mask_gives_finite_logits_and_gradients(
    transport: str, suppliers: str, pixels: int, make_config: MakeConfig, make_episode: MakeEpisode
) -> None:
    model = CMNet(make_config(transport=transport, matching=MatchingConfig(suppliers=suppliers)))  # pyright: ignore[reportArgumentType]
    episode = make_episode()
    episode.support_masks.zero_()
    episode.support_masks[..., 10, 10 : 10 + pixels] = 1
    prediction = model(episode)
    prediction.logits.square().mean().backward()
    assert prediction.logits.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_the_same_seed_gives_the_same_network_and_answer(
    everything: CMNetConfig, make_episode: MakeEpisode, build: Build
) -> None:
    episode = make_episode()
    assert torch.equal(build(everything)(episode).logits, build(everything)(episode).logits)


def test_the_stages_of_the_papers_network_have_as_many_weights_as_its_equations_ask_for() -> None:
    # Message flow: two layers of three 256 x 256 projections and a perceptron of 512, 512 and 256 channels.
    layer = 3 * (256 * 256 + 256) + (512 * 512 + 512) + (512 * 256 + 256)
    position = (2 * 32 + 32) + (32 * 64 + 64) + (64 * 128 + 128) + (128 * 256 + 256)
    assert count_parameters(CMNet(CMNetConfig())) == {
        "backbone": 23_508_032,
        "reduction": 1536 * 256,
        "position": position,
        "message_flow": 2 * layer,
        "refinement": 10_037_514 + 4 * 2 * 256,
    }


def test_stages_without_weights_are_not_counted(make_config: MakeConfig) -> None:
    network = CMNet(make_config(position="none", message_flow=()))
    assert count_parameters(network).keys() == {"backbone", "reduction", "refinement"}


@pytest.mark.parametrize("side", [29, 30, 32, 33])
def test_the_answer_of_a_node_stands_where_the_backbone_looked(
    side: int, make_config: MakeConfig, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(make_config())
    nodes = -(-side // model.backbone.stride)
    answer = torch.randn(1, 2, nodes, nodes)
    monkeypatch.setattr(model.refinement, "forward", lambda *_: (Decoded(answer),))
    image = torch.randn(1, 3, side, side)
    logits = model(Episode(image[None], torch.ones(1, 1, side, side, dtype=torch.long), image)).logits
    assert logits.shape[-2:] == (side, side)
    assert_close(logits[..., :: model.backbone.stride, :: model.backbone.stride], answer)
