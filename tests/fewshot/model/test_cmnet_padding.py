"""Padded nodes take no part: what they hold changes nothing, and the grid might as well end where they begin."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fewshot.model.backbone import Features
from fewshot.model.cmnet import CMNet
from fewshot.model.config import CMNetConfig
from fewshot.model.encoded import EncodedEpisode
from fewshot.model.matching_config import MatchingConfig
from fewshot.model.message_flow import MessageFlowConfig

MakeConfig = Callable[..., CMNetConfig]
Build = Callable[[CMNetConfig], CMNet]

# Four pixels lie between two nodes, as in every image of 4 n + 1 pixels at stride 4.
GRID, SIDE, VALID_GRID, VALID_SIDE = 9, 33, 7, 25

# Where the grid as a whole does not count: no pooling, no frozen stage run over it.
LOCAL: list[dict[str, object]] = [
    {},
    {"transport": "full"},
    {"transport": "none", "prior": False},
    {"reduction": "3x3d2", "shared_reduction": False},
    {"position": "table"},
    {"position": "sine", "flow": MessageFlowConfig(heads=2, neighbourhood=5)},
    {"flow": MessageFlowConfig(shots="joint", cross_keys="foreground")},
    {"matching": MatchingConfig(suppliers="foreground", weights="cross")},
    {"matching": MatchingConfig(features="mid", shots="joint", mass_fraction=0.3, annotation="soft")},
    {"matching": MatchingConfig(features="high", scale_map="none")},
    {"matching": MatchingConfig(features="reduced")},
]
OTHERS: list[dict[str, object]] = [
    {"decoder": "fem"},
    {"prior_premask": True},
    {"matching": MatchingConfig(grid=4)},
    {"decoder": "fem", "prior_premask": True, "matching": MatchingConfig(grid=5, weights="cross")},
]


def configure(make_config: MakeConfig, fields: dict[str, object]) -> CMNetConfig:
    whole = {"transport": "partial", "refinement_passes": 2, "prior_premask": False}
    return make_config(**{**whole, **fields})


def encode(model: CMNet) -> EncodedEpisode:
    """Random features of two tasks of two shots, their last two rows and columns of nodes padding."""
    channels = model.backbone.mid_channels, model.backbone.high_channels
    valid = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
    valid[:, :VALID_SIDE, :VALID_SIDE] = True
    masks = torch.zeros(2, 2, SIDE, SIDE, dtype=torch.long)
    # Pixels whose share of a node is the same on both grids.
    masks[..., :10, :10] = 1
    query, supports = (Features(*(torch.rand(count, size, GRID, GRID) for size in channels)) for count in (2, 4))
    return EncodedEpisode(query, supports, masks, (SIDE, SIDE), valid, valid.unsqueeze(1).expand(-1, 2, -1, -1))


def cut(encoded: EncodedEpisode) -> EncodedEpisode:
    """The same images without their padding."""
    query, supports = (
        Features(one.mid[..., :VALID_GRID, :VALID_GRID], one.high[..., :VALID_GRID, :VALID_GRID])
        for one in (encoded.query, encoded.supports)
    )
    masks = encoded.support_masks[..., :VALID_SIDE, :VALID_SIDE]
    return EncodedEpisode(query, supports, masks, (VALID_SIDE, VALID_SIDE))


def paint(encoded: EncodedEpisode, fill: float) -> EncodedEpisode:
    """Put something else on the padding of every feature and mask."""

    def over(features: Features) -> Features:
        painted = Features(features.mid.clone(), features.high.clone())
        for one in (painted.mid, painted.high):
            one[..., VALID_GRID:, :] = fill
            one[..., VALID_GRID:] = fill
        return painted

    masks = encoded.support_masks.clone()
    masks[..., VALID_SIDE:, :] = 1
    return dataclasses.replace(encoded, query=over(encoded.query), supports=over(encoded.supports), support_masks=masks)


@pytest.mark.parametrize("fill", [50.0, float("nan")])
@pytest.mark.parametrize("fields", [*LOCAL, *OTHERS], ids=str)
def test_what_padding_holds_changes_no_bit_of_any_answer(
    fields: dict[str, object], fill: float, make_config: MakeConfig, build: Build
) -> None:
    model = build(configure(make_config, fields))
    encoded = encode(model)
    with torch.no_grad():
        before, after = model.segment(encoded), model.segment(paint(encoded, fill))
    for name in ("logits", "prior_map", "transport_map", "plan"):
        value = getattr(before, name)
        if value is not None:
            assert torch.equal(getattr(after, name), value), name


@pytest.mark.parametrize("fields", LOCAL, ids=str)
def test_the_answer_is_that_of_an_image_that_ends_where_its_padding_begins(
    fields: dict[str, object], make_config: MakeConfig, build: Build
) -> None:
    model = build(configure(make_config, fields))
    encoded = encode(model)
    with torch.no_grad():
        padded, alone = model.segment(encoded), model.segment(cut(encoded))
    for name in ("prior_map", "transport_map"):
        value = getattr(alone, name)
        if value is not None:
            assert_close(getattr(padded, name)[:, :VALID_GRID, :VALID_GRID], value, rtol=1e-3, atol=1e-4)
    assert_close(padded.logits[..., :VALID_SIDE, :VALID_SIDE], alone.logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("decoder", ["aspp", "fem"])
def test_no_gradient_reaches_the_features_of_padding(decoder: str, make_config: MakeConfig, build: Build) -> None:
    model = build(configure(make_config, {"decoder": decoder})).train()
    encoded = encode(model)
    mids = [one.mid.requires_grad_() for one in (encoded.query, encoded.supports)]
    prediction = model.segment(encoded)
    sum((one.square().sum() for one in (prediction.logits, *prediction.auxiliary)), torch.zeros(())).backward()
    for mid in mids:
        assert mid.grad is not None
        assert mid.grad[..., :VALID_GRID, :VALID_GRID].any()
        assert mid.grad[..., VALID_GRID:].eq(0).all()
        assert mid.grad[..., VALID_GRID:, :].eq(0).all()


def test_padding_on_one_side_of_a_pair_alone_is_left_out_too(make_config: MakeConfig, build: Build) -> None:
    model = build(configure(make_config, {}))
    encoded = encode(model)

    def segment(fill: float) -> Tensor:
        supports = dataclasses.replace(paint(encoded, fill), query=encoded.query, query_valid=None)
        return model.segment(supports).logits

    with torch.no_grad():
        assert torch.equal(segment(0.0), segment(50.0))
