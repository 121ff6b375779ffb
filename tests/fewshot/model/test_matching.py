from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor
from torch.testing import assert_close

from fewshot.model.matching import Match, OptimalTransportMatching
from fewshot.model.matching_config import MatchingConfig
from fewshot.model.nodes import NodeMasks

MakeMasks = Callable[..., NodeMasks]

# Sinkhorn converges to 1e-6 of the mass where a test compares sums.
EXACT = MatchingConfig(max_iter=5000, tol=1e-6, scale_map="none")
TOLERANCE = 1e-4


def solve_exactly(cost: Tensor, mass: float) -> float:
    """Value of the partial problem with unit weights, by HiGHS, without dummies: an independent definition."""
    n, m = cost.shape
    rows, columns = np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))
    result = linprog(
        cost.double().flatten().numpy(),
        A_ub=np.vstack([rows, columns]),
        b_ub=np.ones(n + m),
        A_eq=np.ones((1, n * m)),
        b_eq=[mass],
    )
    assert result.status == 0
    return result.fun


def draw_features(grid: tuple[int, int], support_grid: tuple[int, int], *, shot: int = 1) -> tuple[Tensor, Tensor]:
    return torch.randn(2, 6, *grid), torch.randn(2, shot, 6, *support_grid)


def make_problem(grid: tuple[int, int] = (4, 5), *, shot: int = 1) -> tuple[Tensor, Tensor]:
    return draw_features(grid, grid, shot=shot)


def match(query: Tensor, supports: Tensor, masks: NodeMasks, *, transport: str, config: MatchingConfig) -> Match:
    return OptimalTransportMatching(transport, config)(query, supports, masks)  # pyright: ignore[reportArgumentType]


def unequal_masks(make_masks: MakeMasks) -> NodeMasks:
    """30 support nodes of which 6 are the object, 40 query nodes."""
    masks = make_masks(grid=(5, 6))
    return replace(masks, query_valid=torch.ones(2, 5, 8, dtype=torch.bool))


def test_plan_is_nearly_as_cheap_as_the_exact_one_and_respects_every_capacity(make_masks: MakeMasks) -> None:
    query, supports = draw_features((5, 8), (5, 6))
    config = replace(EXACT, reg=0.01)
    plan = match(query, supports, unequal_masks(make_masks), transport="partial", config=config).plan
    nodes, others = supports[:, 0].flatten(2).mT, query.flatten(2).mT
    cost = 1 - torch.cosine_similarity(nodes.unsqueeze(2), others.unsqueeze(1), dim=-1)
    for task in range(2):
        exact = solve_exactly(cost[task], 6.0)
        found = (cost[task] * plan[task, 0]).sum().item()
        # The entropic plan costs more than the exact one by at most reg times the entropy it can gain.
        assert exact - 1e-3 <= found <= exact + 0.01 * 6.0 * np.log(30 * 40)
    assert_close(plan.sum((-2, -1)), torch.full((2, 1), 6.0), rtol=TOLERANCE, atol=0.0)
    assert (plan >= 0).all()
    assert (plan.sum(-1) <= 1 + TOLERANCE).all()
    assert (plan.sum(-2) <= 1 + TOLERANCE).all()


def test_all_suppliers_send_at_most_the_mass_through_the_filter(make_masks: MakeMasks) -> None:
    query, supports = draw_features((5, 8), (5, 6))
    found = match(query, supports, unequal_masks(make_masks), transport="partial", config=EXACT)
    through = found.map.sum((-2, -1))
    assert (through > 0).all()
    assert (through <= 6.0 + TOLERANCE).all()


def test_foreground_suppliers_send_all_their_mass_to_the_query(make_masks: MakeMasks) -> None:
    query, supports = draw_features((5, 8), (5, 6))
    config = replace(EXACT, suppliers="foreground")
    found = match(query, supports, unequal_masks(make_masks), transport="partial", config=config)
    assert_close(found.map.sum((-2, -1)), torch.full((2,), 6.0), rtol=TOLERANCE, atol=0.0)
    assert_close(found.plan[..., 0, :].sum(-1), torch.ones(2, 1), rtol=TOLERANCE, atol=0.0)
    assert found.plan[..., -1, :].eq(0).all()


def test_full_transport_sends_the_whole_object(make_masks: MakeMasks) -> None:
    query, supports = make_problem()
    found = match(query, supports, make_masks(), transport="full", config=EXACT)
    assert_close(found.map.sum((-2, -1)), torch.full((2,), 4.0), rtol=TOLERANCE, atol=0.0)
    assert_close(found.plan.sum(-2), torch.ones(2, 1, 20), rtol=1e-3, atol=1e-3)
    assert_close(found.plan.sum(-1), torch.ones(2, 1, 20), rtol=1e-3, atol=1e-3)


def test_full_transport_between_unequal_images_fills_the_query(make_masks: MakeMasks) -> None:
    query, supports = draw_features((5, 8), (5, 6))
    plan = match(query, supports, unequal_masks(make_masks), transport="full", config=EXACT).plan
    assert_close(plan.sum(-2), torch.ones(2, 1, 40), rtol=1e-3, atol=1e-3)
    assert_close(plan.sum(-1), torch.full((2, 1, 30), 40 / 30), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("suppliers", "ratio", "mass"), [("all", 0.5, 2.0), ("all", 2.0, 8.0), ("foreground", 0.5, 2.0)]
)
def test_mass_ratio_scales_what_is_moved(suppliers: str, ratio: float, mass: float, make_masks: MakeMasks) -> None:
    config = replace(EXACT, suppliers=suppliers, mass_ratio=ratio)
    plan = match(*make_problem(), make_masks(), transport="partial", config=config).plan
    assert_close(plan.sum((-2, -1)), torch.full((2, 1), mass), rtol=TOLERANCE, atol=0.0)


def test_each_shot_moves_the_size_of_its_own_object(make_masks: MakeMasks) -> None:
    masks = make_masks(shot=2)
    masks.foreground[:, 1] = 0.0
    masks.foreground[:, 1, 3] = 1.0
    plan = match(*make_problem(shot=2), masks, transport="partial", config=EXACT).plan
    assert_close(plan.sum((-2, -1)), torch.tensor([[4.0, 5.0]] * 2), rtol=TOLERANCE, atol=0.0)


def test_the_whole_mass_of_equal_sides_moves_as_in_full_transport(make_masks: MakeMasks) -> None:
    config, problem = replace(EXACT, mass_fraction=1.0), make_problem()
    partial = match(*problem, make_masks(), transport="partial", config=config).plan
    full = match(*problem, make_masks(), transport="full", config=EXACT).plan
    assert_close(partial, full, rtol=1e-2, atol=1e-4)


def test_a_vanishing_mass_moves_by_price_alone(make_masks: MakeMasks) -> None:
    config, (query, supports) = replace(EXACT, mass_fraction=1e-6), make_problem()
    plan = match(query, supports, make_masks(), transport="partial", config=config).plan[:, 0]
    nodes, others = supports[:, 0].flatten(2).mT, query.flatten(2).mT
    cost = 1 - torch.cosine_similarity(nodes.unsqueeze(2), others.unsqueeze(1), dim=-1)
    expected = torch.softmax(-cost.flatten(1) / config.reg, dim=-1).view_as(plan)
    assert_close(plan / plan.sum((-2, -1), keepdim=True), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("transport", ["full", "partial"])
def test_padded_nodes_give_and_receive_nothing(transport: str, make_masks: MakeMasks) -> None:
    query, supports = make_problem()
    valid = torch.ones(2, 4, 5, dtype=torch.bool)
    valid[..., -1] = False
    masks = replace(make_masks(), query_valid=valid, support_valid=valid.unsqueeze(1))
    found = match(query, supports, masks, transport=transport, config=EXACT)
    plan = found.plan.unflatten(-1, (4, 5)).unflatten(2, (4, 5))
    assert plan[:, :, :, -1].eq(0).all()
    assert plan[..., -1].eq(0).all()
    assert found.map[..., -1].eq(0).all()
    query[..., -1], supports[..., -1] = 7.0, -7.0
    assert_close(match(query, supports, masks, transport=transport, config=EXACT).plan, found.plan)


def test_permuting_nodes_permutes_the_plan(make_masks: MakeMasks) -> None:
    query, supports = make_problem()
    masks = make_masks()
    plan = match(query, supports, masks, transport="partial", config=EXACT).plan
    order = torch.randperm(20)
    shuffled = supports.flatten(-2)[..., order].view_as(supports)
    foreground = masks.foreground.flatten(-2)[..., order].view_as(masks.foreground)
    found = match(query, shuffled, replace(masks, foreground=foreground), transport="partial", config=EXACT).plan
    assert_close(found, plan[:, :, order], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("suppliers", ["all", "foreground"])
def test_an_image_matched_with_itself_gives_back_its_mask(suppliers: str, make_masks: MakeMasks) -> None:
    masks = make_masks()
    # Orthogonal nodes: every node costs nothing to itself and 1 to all others.
    image = torch.eye(20).view(1, 20, 4, 5).expand(2, -1, -1, -1)
    config = MatchingConfig(suppliers=suppliers, reg=0.02, max_iter=1000)  # pyright: ignore[reportArgumentType]
    found = match(image, image.unsqueeze(1), masks, transport="partial", config=config)
    assert_close(found.map, masks.foreground[:, 0], rtol=0.0, atol=1e-3)


def test_scaled_maps_span_zero_to_one(make_masks: MakeMasks) -> None:
    found = match(*make_problem(), make_masks(), transport="partial", config=MatchingConfig())
    assert_close(found.map.amin((1, 2)), torch.zeros(2))
    assert_close(found.map.amax((1, 2)), torch.ones(2))


def test_copies_of_one_shot_give_the_map_of_one_shot(make_masks: MakeMasks) -> None:
    query, supports = make_problem()
    one = match(query, supports, make_masks(), transport="partial", config=MatchingConfig()).map
    copies = supports.expand(-1, 3, -1, -1, -1)
    assert_close(match(query, copies, make_masks(shot=3), transport="partial", config=MatchingConfig()).map, one)


def test_the_map_of_several_shots_is_the_mean_of_theirs(make_masks: MakeMasks) -> None:
    query, supports = make_problem(shot=2)
    both = match(query, supports, make_masks(shot=2), transport="partial", config=MatchingConfig())
    each = [
        match(query, supports[:, shot : shot + 1], make_masks(), transport="partial", config=MatchingConfig())
        for shot in range(2)
    ]
    assert_close(both.map, (each[0].map + each[1].map) / 2)
    assert_close(both.plan, torch.cat([one.plan for one in each], dim=1))


@pytest.mark.parametrize("transport", ["full", "partial"])
def test_an_empty_mask_gives_a_map_of_zeros(transport: str, make_masks: MakeMasks) -> None:
    masks = make_masks()
    masks.foreground.zero_()
    assert match(*make_problem(), masks, transport=transport, config=MatchingConfig()).map.eq(0).all()


def test_an_empty_mask_gives_a_map_of_zeros_with_foreground_suppliers_beside_a_full_one(make_masks: MakeMasks) -> None:
    masks = make_masks()
    masks.foreground[0].zero_()
    found = match(*make_problem(), masks, transport="partial", config=MatchingConfig(suppliers="foreground"))
    assert found.map[0].eq(0).all()
    assert found.map[1].max() == 1


@pytest.mark.parametrize("suppliers", ["all", "foreground"])
def test_an_object_smaller_than_a_node_still_shows(suppliers: str, make_masks: MakeMasks) -> None:
    masks = make_masks()
    masks.foreground.zero_()
    masks.foreground[..., 1, 1] = 0.05
    config = MatchingConfig(suppliers=suppliers)  # pyright: ignore[reportArgumentType]
    found = match(*make_problem(), masks, transport="partial", config=config).map
    assert found.isfinite().all()
    assert_close(found.amax((1, 2)), torch.ones(2))


def test_gradients_reach_the_features_and_are_finite_for_dead_nodes(make_masks: MakeMasks) -> None:
    query, supports = make_problem()
    # A rectifier may silence a node altogether.
    query[..., 0, 0] = 0.0
    query.requires_grad_()
    supports.requires_grad_()
    found = match(query, supports, make_masks(), transport="partial", config=MatchingConfig())
    (found.map * torch.rand(4, 5)).sum().backward()
    for features in (query, supports):
        assert features.grad is not None
        assert features.grad.isfinite().all()
        assert features.grad.any()


def test_detached_matching_carries_no_gradient(make_masks: MakeMasks) -> None:
    query, supports = make_problem()
    found = match(
        query.requires_grad_(), supports, make_masks(), transport="partial", config=MatchingConfig(detach=True)
    )
    assert not found.map.requires_grad
