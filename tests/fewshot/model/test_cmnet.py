import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fewshot.episode import Episode
from fewshot.model.cmnet import CMNet
from fewshot.model.config import CMNetConfig
from fewshot.model.matching import MatchingConfig
from fewshot.model.message_flow import MessageFlowConfig

MakeConfig = Callable[..., CMNetConfig]
MakeEpisode = Callable[..., Episode]

# Each row changes one field of a network in which every module is on.
SWITCHES: list[dict[str, object]] = [
    {"backbone": "resnet50"},
    {"backbone": "vgg16"},
    {"backbone": "vgg16_bn"},
    {"backbone": "mobilenetv2"},
    {"width": 32},
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


def grow(model: CMNet) -> CMNet:
    """Undo the small start of flow and position, as training does, so that their switches can be seen."""
    for part in (model.message_flow, model.position):
        for parameter in part.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def build(config: CMNetConfig) -> CMNet:
    torch.manual_seed(0)
    return grow(CMNet(config)).eval()


def with_padding(episode: Episode, fill: float) -> Episode:
    """Declare the right quarter of every image padding, and paint it."""
    valid = torch.ones(episode.query_image.shape[0], 32, 32, dtype=torch.bool)
    valid[..., 24:] = False
    return dataclasses.replace(
        episode,
        query_image=torch.where(valid.unsqueeze(1), episode.query_image, fill),
        support_images=torch.where(valid[:, None, None], episode.support_images, fill),
        query_valid=valid,
        support_valid=valid.unsqueeze(1),
    )


@pytest.fixture
def everything(make_config: MakeConfig) -> CMNetConfig:
    return make_config(transport="partial", refinement_passes=1)


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_every_switch_changes_the_answer(
    switch: dict[str, object], everything: CMNetConfig, make_episode: MakeEpisode
) -> None:
    episode = make_episode(batch=1, shot=2)
    changed = dataclasses.replace(everything, **switch)  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        before, after = build(everything)(episode).logits, build(changed)(episode).logits
    assert after.isfinite().all()
    assert not torch.equal(before, after)


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


def test_the_loss_weighs_passes_alike_and_scales_of_a_pass_as_one(
    make_config: MakeConfig, make_episode: MakeEpisode
) -> None:
    model = CMNet(make_config(decoder="fem", refinement_passes=2, refinement_probability=1.0))
    prediction = model.train()(make_episode())
    assert prediction.auxiliary_weights == (*[0.25] * 8, 1.0)
    assert len(prediction.auxiliary) == 9
    assert model.eval()(make_episode()).auxiliary == ()


def test_the_frozen_backbone_stays_bit_equal_through_training(
    everything: CMNetConfig, make_episode: MakeEpisode
) -> None:
    model = CMNet(everything).train()
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        model(make_episode(batch=1, side=16, query=(16, 16))).logits.square().mean().backward()
        optimizer.step()
    assert not model.backbone.training
    assert all(torch.equal(before[name], value) for name, value in model.backbone.state_dict().items())


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


def test_segmenting_stored_half_precision_features_equals_the_forward_pass(
    everything: CMNetConfig, make_episode: MakeEpisode
) -> None:
    model, episode = CMNet(everything).eval(), make_episode(shot=2)
    query, supports = model.extract(episode.query_image), model.extract(episode.support_images.flatten(0, 1))
    assert_close(model.segment(query, supports, episode.support_masks).logits, model(episode).logits)
    query, supports = query.to(torch.float16), supports.to(torch.float16)
    half = model.segment(query, supports, episode.support_masks).logits
    assert_close(half, model(episode).logits, rtol=0.02, atol=0.02)


def test_copies_of_one_shot_equal_one_shot(everything: CMNetConfig, make_episode: MakeEpisode) -> None:
    model, episode = build(everything), make_episode()
    copies = dataclasses.replace(
        episode,
        support_images=episode.support_images.expand(-1, 5, -1, -1, -1),
        support_masks=episode.support_masks.expand(-1, 5, -1, -1),
    )
    assert_close(model(copies).logits, model(episode).logits, rtol=1e-4, atol=1e-5)


def test_the_order_of_shots_does_not_matter(everything: CMNetConfig, make_episode: MakeEpisode) -> None:
    model, episode = build(everything), make_episode(shot=3)
    flipped = dataclasses.replace(
        episode, support_images=episode.support_images.flip(1), support_masks=episode.support_masks.flip(1)
    )
    assert_close(model(flipped).logits, model(episode).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("transport", ["none", "full", "partial"])
def test_what_is_painted_on_padding_reaches_no_module_after_the_backbone(
    transport: str, make_config: MakeConfig, make_episode: MakeEpisode
) -> None:
    model, episode = build(make_config(transport=transport)), with_padding(make_episode(), 0.0)
    query, supports = model.extract(episode.query_image), model.extract(episode.support_images.flatten(0, 1))

    def segment(fill: float) -> Tensor:
        for features in (query, supports):
            features.mid[..., 6:], features.high[..., 6:] = fill, fill
        return model.segment(
            query,
            supports,
            episode.support_masks,
            query_valid=episode.query_valid,
            support_valid=episode.support_valid,
        ).logits

    with torch.no_grad():
        assert_close(segment(0.0), segment(50.0), rtol=1e-4, atol=1e-5)


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


def test_transport_stays_in_single_precision_under_autocast(everything: CMNetConfig, make_episode: MakeEpisode) -> None:
    model, episode = CMNet(everything).eval(), make_episode()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction = model(episode)
    assert prediction.plan is not None
    assert prediction.plan.dtype == torch.float32
    assert prediction.logits.isfinite().all()
    assert (prediction.probability.float() - model(episode).probability).abs().max() < 0.05


def test_the_same_seed_gives_the_same_network_and_answer(everything: CMNetConfig, make_episode: MakeEpisode) -> None:
    episode = make_episode()
    assert torch.equal(build(everything)(episode).logits, build(everything)(episode).logits)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 0}, r"`width` must be positive\. Found 0\. Correct"),
        ({"width": 15, "flow": MessageFlowConfig(heads=2)}, r"a multiple of 2 heads\. Found 15\. Correct"),
        ({"width": 18, "position": "sine"}, r"a multiple of 4 for the sine encoding\. Found 18\. Correct"),
        ({"stem": "deep"}, r"`stem` must be 'plain' for 'small'\. Found 'deep'\. Correct"),
        ({"dilations": ()}, r"`dilations` must hold one or more positive numbers\. Found \(\)\. Correct"),
        ({"dropout": 1.0}, r"`dropout` must lie in \[0, 1\)\. Found 1\.0\. Correct"),
        ({"refinement_passes": -1}, r"at least 0\. Found -1\. Correct"),
        ({"refinement_probability": 1.5}, r"lie in \[0, 1\]\. Found 1\.5\. Correct"),
        (
            {"transport": "full", "matching": MatchingConfig(suppliers="foreground")},
            r"`matching.suppliers` must be 'all' for full transport\. Found 'foreground'\. Correct",
        ),
    ],
)
def test_impossible_configurations_are_refused_with_a_remedy(
    fields: dict[str, object], message: str, make_config: MakeConfig
) -> None:
    with pytest.raises(ValueError, match=message):
        make_config(**fields)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("backbone", "vgg", r"`backbone` must be one of .*small.*\. Found 'vgg'\. Correct the field"),
        ("transport", "half", r"`transport` must be one of .*partial.*\. Found 'half'\. Correct the field"),
        ("message_flow", ("outer",), r"`message_flow` must hold only .*\. Found \('outer',\)\. Correct the field"),
    ],
)
def test_unknown_names_are_refused_where_no_types_are_checked(
    field: str, value: object, message: str, make_config: MakeConfig
) -> None:
    config = make_config()
    # The tests check annotated types before the constructor runs; a user's program does not.
    object.__setattr__(config, field, value)
    with pytest.raises(ValueError, match=message):
        config.__post_init__()
