"""What holds of the map and the plan whatever the variant of the transport problem."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fewshot.model.matching import Match, OptimalTransportMatching
from fewshot.model.matching_config import MatchingConfig
from fewshot.model.nodes import NodeMasks

MakeMasks = Callable[..., NodeMasks]

# Sinkhorn converges to 1e-6 of the mass where a test compares sums.
EXACT = MatchingConfig(max_iter=5000, tol=1e-6, scale_map="none")
TOLERANCE = 1e-4
GRID = (6, 8)

VARIANTS = [
    ("full", EXACT),
    ("full", replace(EXACT, weights="cross")),
    ("full", replace(EXACT, shots="joint", grid=4)),
    ("partial", EXACT),
    ("partial", replace(EXACT, suppliers="foreground")),
    ("partial", replace(EXACT, weights="cross")),
    ("partial", replace(EXACT, weights="cross", suppliers="foreground", shots="joint")),
    ("partial", replace(EXACT, mass_fraction=0.4, annotation="soft")),
    ("partial", replace(EXACT, mass_fraction=1.0)),
    ("partial", replace(EXACT, grid=4)),
    ("partial", replace(EXACT, grid=4, weights="cross", shots="joint")),
]
EVERY_VARIANT = pytest.mark.parametrize(("transport", "config"), VARIANTS, ids=str)


def draw(*, shot: int = 2) -> tuple[Tensor, Tensor]:
    return torch.rand(2, 6, *GRID), torch.rand(2, shot, 6, *GRID)


def padded(make_masks: MakeMasks, *, shot: int = 2) -> NodeMasks:
    """The last two columns of every image are padding, so that averaged nodes are all one or the other."""
    valid = torch.ones(2, shot, *GRID, dtype=torch.bool)
    valid[..., -2:] = False
    return replace(make_masks(shot=shot, grid=GRID), query_valid=valid[:, 0], support_valid=valid)


def run(inputs: tuple[Tensor, Tensor], masks: NodeMasks, transport: str, config: MatchingConfig) -> Match:
    return OptimalTransportMatching(transport, config)(*inputs, masks)  # pyright: ignore[reportArgumentType]


@EVERY_VARIANT
def test_padded_nodes_give_and_get_nothing_and_their_content_changes_no_bit(
    transport: str, config: MatchingConfig, make_masks: MakeMasks
) -> None:
    inputs, masks = draw(), padded(make_masks)
    found = run(inputs, masks, transport, config)
    plan = found.plan.unflatten(-1, found.query_grid).unflatten(2, found.support_grid)
    outside = found.query_grid[1] * 3 // 4
    assert plan[..., outside:].eq(0).all()
    assert plan[:, :, :, outside:].eq(0).all()
    assert found.map[..., 6:].eq(0).all()
    for features in inputs:
        features[..., 6:] = 50.0
    again = run(inputs, masks, transport, config)
    assert torch.equal(again.plan, found.plan)
    assert torch.equal(again.map, found.map)


@pytest.mark.parametrize("transport", ["full", "partial"])
@pytest.mark.parametrize("annotation", ["binary", "soft"])
@pytest.mark.parametrize("shots", ["pairwise", "joint"])
def test_the_share_of_the_flow_from_the_object_is_what_fills_the_map(
    transport: str, annotation: str, shots: str, make_masks: MakeMasks
) -> None:
    config = replace(EXACT, annotation=annotation, shots=shots)
    found = run(draw(), make_masks(shot=2, grid=GRID), transport, config)
    moved = found.plan.sum((-2, -1))
    # Each pair moves as much as the other, or all that is moved is moved once.
    total = moved.mean(1) if shots == "pairwise" else moved.sum(1)
    assert_close(found.fg_flow_fraction, found.map.sum((-2, -1)) / total, rtol=TOLERANCE, atol=0.0)
    assert found.fg_flow_fraction.lt(1).all()


@pytest.mark.parametrize("weights", ["uniform", "cross"])
def test_all_of_the_flow_comes_from_an_object_that_supplies_alone(weights: str, make_masks: MakeMasks) -> None:
    config = replace(EXACT, suppliers="foreground", weights=weights)
    found = run(draw(), padded(make_masks), "partial", config)
    assert_close(found.fg_flow_fraction, torch.ones(2), rtol=TOLERANCE, atol=0.0)


@EVERY_VARIANT
def test_gradients_of_every_variant_are_finite_and_reach_both_sides(
    transport: str, config: MatchingConfig, make_masks: MakeMasks
) -> None:
    query, supports = (features.requires_grad_() for features in draw())
    usual = replace(config, max_iter=50, tol=1e-3, scale_map="minmax")
    found = run((query, supports), padded(make_masks), transport, usual)
    assert not found.fg_flow_fraction.requires_grad
    assert not found.flow_entropy.requires_grad
    (found.map * torch.rand(GRID)).sum().backward()
    for features in (query, supports):
        assert features.grad is not None
        assert features.grad.isfinite().all()
        assert features.grad[..., :6].any()
        assert features.grad[..., 6:].eq(0).all()


@EVERY_VARIANT
def test_copies_of_one_shot_match_as_one_shot(transport: str, config: MatchingConfig, make_masks: MakeMasks) -> None:
    query, supports = draw(shot=1)
    one = run((query, supports), padded(make_masks, shot=1), transport, config)
    three = run((query, supports.expand(-1, 3, -1, -1, -1)), padded(make_masks, shot=3), transport, config)
    assert_close(three.map, one.map, rtol=1e-3, atol=1e-4)
    assert_close(three.fg_flow_fraction, one.fg_flow_fraction, rtol=1e-3, atol=1e-4)
    assert three.plan.shape[1] == 3


@EVERY_VARIANT
def test_the_order_of_shots_does_not_matter(transport: str, config: MatchingConfig, make_masks: MakeMasks) -> None:
    query, supports = draw(shot=3)
    masks = padded(make_masks, shot=3)
    masks.foreground[:, 1, 3:] = 1.0
    masks.foreground[..., 6:] = 0.0
    turned = replace(masks, foreground=masks.foreground.flip(1))
    found = run((query, supports), masks, transport, config)
    other = run((query, supports.flip(1)), turned, transport, config)
    assert_close(other.map, found.map, rtol=1e-3, atol=1e-4)
    assert_close(other.plan.flip(1), found.plan, rtol=1e-3, atol=1e-4)


def test_a_joint_problem_lets_supports_compete(make_masks: MakeMasks) -> None:
    query, supports = draw()
    masks = make_masks(shot=2, grid=GRID)
    # The first support is the query, the second looks the other way.
    supports[:, 0], supports[:, 1] = query, -query
    config = replace(EXACT, shots="joint", reg=0.02)
    plan = run((query, supports), masks, "partial", config).plan
    assert (plan[:, 0].sum((-2, -1)) > 20 * plan[:, 1].sum((-2, -1))).all()


def test_a_map_of_averaged_nodes_comes_back_at_the_size_of_the_query(make_masks: MakeMasks) -> None:
    # Orthogonal cells of two by two nodes that are alike: averaging loses nothing.
    image = torch.eye(12).view(1, 12, 3, 4).repeat_interleave(2, -1).repeat_interleave(2, -2).expand(2, -1, -1, -1)
    masks = make_masks(grid=GRID)
    masks.foreground.zero_()
    masks.foreground[..., :4, :4] = 1.0
    config = replace(EXACT, grid=4, reg=0.02, scale_map="minmax")
    found = run((image, image.unsqueeze(1)), masks, "partial", config)
    assert (found.query_grid, found.support_grid, found.plan.shape[2:]) == ((3, 4), (3, 4), (12, 12))
    assert found.map.shape == (2, *GRID)
    assert found.map[:, :3, :3].gt(0.99).all()
    assert found.map[:, 5:].lt(0.01).all()
    # Between the middles of two cells the map falls in a straight line.
    assert_close(found.map[0, 0, 2:6], torch.tensor([1.0, 0.75, 0.25, 0.0]), rtol=0.0, atol=0.01)


def test_the_flow_of_an_image_to_itself_is_sharp_and_that_between_equal_nodes_even(make_masks: MakeMasks) -> None:
    masks = make_masks(grid=GRID)
    image = torch.eye(48).view(1, 48, *GRID).expand(2, -1, -1, -1)
    config = replace(EXACT, reg=0.02)
    sharp = run((image, image.unsqueeze(1)), masks, "full", config).flow_entropy
    # Every node to itself: 48 pairs of 48 squared.
    assert_close(sharp, torch.full((2,), 0.5), rtol=1e-3, atol=0.0)
    alike = torch.ones_like(image)
    even = run((alike, alike.unsqueeze(1)), masks, "full", config).flow_entropy
    assert_close(even, torch.ones(2))
