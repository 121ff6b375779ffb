import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from fewshot.model.message_flow import AttentionalPropagation, FlowKind, MessageFlow, MessageFlowConfig, window_edges
from fewshot.model.nodes import NodeMasks

MakeMasks = Callable[..., NodeMasks]
CHANNELS = 8
GRID = (4, 5)


def make_flow(*kinds: FlowKind, config: MessageFlowConfig | None = None) -> MessageFlow:
    """A flow as it might be after training: its last layers are not small."""
    flow = MessageFlow(CHANNELS, kinds, config or MessageFlowConfig())
    for parameter in flow.parameters():
        nn.init.normal_(parameter, std=0.5)
    return flow


def draw_features(*, batch: int = 2, shot: int = 1) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, CHANNELS, *GRID), torch.randn(batch, shot, CHANNELS, *GRID)


@pytest.mark.parametrize("kinds", [("inner",), ("cross",), ("inner", "cross")])
def test_an_untrained_flow_leaves_features_nearly_as_they_are(
    kinds: tuple[FlowKind, ...], make_masks: MakeMasks
) -> None:
    query, supports = draw_features()
    new_query, new_supports = MessageFlow(CHANNELS, kinds, MessageFlowConfig())(query, supports, make_masks())
    assert 0 < (new_query - query).abs().max() < 0.05
    assert 0 < (new_supports - supports).abs().max() < 0.05


def test_no_flow_is_the_identity(make_masks: MakeMasks) -> None:
    query, supports = draw_features()
    new_query, new_supports = make_flow()(query, supports, make_masks())
    assert torch.equal(new_query, query)
    assert torch.equal(new_supports, supports)


@pytest.mark.parametrize(("kind", "mixes"), [("inner", False), ("cross", True)])
def test_only_cross_flow_tells_the_query_about_the_support(kind: FlowKind, mixes: bool, make_masks: MakeMasks) -> None:
    flow, (query, supports) = make_flow(kind), draw_features()
    first, _ = flow(query, supports, make_masks())
    second, _ = flow(query, supports + 1.0, make_masks())
    assert torch.equal(first, second) != mixes


def test_inner_flow_does_not_mix_the_images_of_a_batch(make_masks: MakeMasks) -> None:
    flow, (query, supports) = make_flow("inner"), draw_features(shot=2)
    changed_query, changed_supports = query.clone(), supports.clone()
    changed_query[1] += 1.0
    changed_supports[0, 1] += 1.0
    first = flow(query, supports, make_masks(shot=2))
    second = flow(changed_query, changed_supports, make_masks(shot=2))
    assert_close(first[0][0], second[0][0])
    assert_close(first[1][0, 0], second[1][0, 0])
    assert_close(first[1][1], second[1][1])


def test_cross_flow_updates_both_sides_from_the_features_before(make_masks: MakeMasks) -> None:
    flow, (query, supports) = make_flow("cross"), draw_features()
    forth = flow(query, supports, make_masks())
    back = flow(supports[:, 0], query[:, None], make_masks())
    assert_close(forth[0], back[1][:, 0])
    assert_close(forth[1][:, 0], back[0])


def test_without_keys_features_stay_as_they_are() -> None:
    propagation = make_flow("cross").flows[0]
    nodes, sources = torch.randn(2, 5, CHANNELS), torch.randn(2, 6, CHANNELS)
    keys = torch.zeros(2, 6, dtype=torch.bool)
    keys[1] = True
    out = propagation(nodes, sources, keys)
    assert torch.equal(out[0], nodes[0])
    assert not torch.equal(out[1], nodes[1])


@pytest.mark.parametrize("kind", ["inner", "cross"])
def test_padding_sends_no_messages(kind: FlowKind, make_masks: MakeMasks) -> None:
    flow, (query, supports) = make_flow(kind), draw_features()
    valid = torch.ones(2, *GRID, dtype=torch.bool)
    valid[..., -1] = False
    masks = replace(make_masks(), query_valid=valid, support_valid=valid[:, None])
    first = flow(query, supports, masks)
    query[..., -1], supports[..., -1] = 100.0, -100.0
    second = flow(query, supports, masks)
    assert_close(first[0][..., :-1], second[0][..., :-1])
    assert_close(first[1][..., :-1], second[1][..., :-1])


def test_a_window_wider_than_the_image_equals_the_whole_image(make_masks: MakeMasks) -> None:
    query, supports = draw_features()
    whole, windowed = make_flow("inner"), make_flow("inner", config=MessageFlowConfig(neighbourhood=2 * max(GRID) - 1))
    windowed.load_state_dict(whole.state_dict())
    assert_close(whole(query, supports, make_masks())[0], windowed(query, supports, make_masks())[0])


def test_a_window_lets_only_near_nodes_speak(make_masks: MakeMasks) -> None:
    flow, (query, supports) = make_flow("inner", config=MessageFlowConfig(neighbourhood=3)), draw_features()
    first, _ = flow(query, supports, make_masks())
    query[..., 0, 0] += 1.0
    second, _ = flow(query, supports, make_masks())
    moved = (first - second).abs().amax((0, 1)) > 1e-6
    expected = torch.zeros(GRID, dtype=torch.bool)
    expected[:2, :2] = True
    assert torch.equal(moved, expected)


def test_window_edges_are_symmetric_and_count_as_a_square() -> None:
    edges = window_edges(5, 6, 3, torch.device("cpu"))
    assert torch.equal(edges, edges.mT)
    assert edges.sum(-1).view(5, 6)[2, 3] == 9
    assert edges.sum(-1).view(5, 6)[0, 0] == 4


def test_foreground_keys_keep_the_background_of_the_support_silent(make_masks: MakeMasks) -> None:
    flow, (query, supports) = make_flow("cross", config=MessageFlowConfig(cross_keys="foreground")), draw_features()
    masks = make_masks()
    first, _ = flow(query, supports, masks)
    background = (masks.foreground == 0).unsqueeze(2)
    second, _ = flow(query, supports + 3.0 * background, masks)
    assert_close(first, second)
    third, _ = flow(query, supports + 3.0 * ~background, masks)
    assert not torch.allclose(first, third)


def test_an_empty_mask_leaves_the_query_as_it_is_under_foreground_keys(make_masks: MakeMasks) -> None:
    flow, (query, supports) = make_flow("cross", config=MessageFlowConfig(cross_keys="foreground")), draw_features()
    masks = make_masks()
    new_query, new_supports = flow(query, supports, replace(masks, foreground=torch.zeros_like(masks.foreground)))
    assert torch.equal(new_query, query)
    assert not torch.equal(new_supports, supports)


@pytest.mark.parametrize("shots", ["pairwise", "joint"])
def test_copies_of_one_shot_equal_one_shot(shots: str, make_masks: MakeMasks) -> None:
    flow = make_flow("inner", "cross", config=MessageFlowConfig(shots=shots))  # pyright: ignore[reportArgumentType]
    query, supports = draw_features()
    one, _ = flow(query, supports, make_masks())
    three, _ = flow(query, supports.expand(-1, 3, -1, -1, -1), make_masks(shot=3))
    assert_close(one, three)


def test_the_order_of_shots_does_not_matter_and_joint_differs_from_pairwise(make_masks: MakeMasks) -> None:
    pairwise, joint = make_flow("cross"), make_flow("cross", config=MessageFlowConfig(shots="joint"))
    joint.load_state_dict(pairwise.state_dict())
    query, supports = draw_features(shot=3)
    first, _ = pairwise(query, supports, make_masks(shot=3))
    assert_close(first, pairwise(query, supports.flip(1), make_masks(shot=3))[0])
    assert not torch.allclose(first, joint(query, supports, make_masks(shot=3))[0])


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("heads", [1, 2])
def test_messages_are_those_of_the_papers_equations(heads: int, scaled: bool) -> None:
    flow = AttentionalPropagation(CHANNELS, heads, scaled=scaled)
    nodes, sources = torch.randn(1, 3, CHANNELS), torch.randn(1, 4, CHANNELS)
    length = CHANNELS // heads
    messages = []
    for head in range(heads):
        part = slice(head * length, (head + 1) * length)
        query, key, value = (
            layer(x)[0][:, part] for layer, x in ((flow.query, nodes), (flow.key, sources), (flow.value, sources))
        )
        alpha = torch.softmax(query @ key.T / (math.sqrt(length) if scaled else 1.0), dim=1)
        messages.append(alpha @ value)
    expected = nodes[0] + flow.update(torch.cat([nodes[0], *messages], dim=1))
    assert_close(flow(nodes, sources, torch.ones(1, 4, dtype=torch.bool))[0], expected)


def test_no_heads_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Found 0\. Pass 1 for the paper's attention"):
        MessageFlowConfig(heads=0)


@pytest.mark.parametrize("side", [0, 4, -3])
def test_an_even_or_empty_window_is_refused(side: int) -> None:
    with pytest.raises(ValueError, match=rf"Found {side}\. Pass an odd number of nodes"):
        MessageFlowConfig(neighbourhood=side)
