from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fewshot.model.matching_config import MatchingConfig
from fewshot.model.matching_problem import (
    MatchedNodes,
    TransportProblem,
    gather_nodes,
    moved_mass,
    pose_problem,
)
from fewshot.model.nodes import NodeMasks

MakeMasks = Callable[..., NodeMasks]
GRID = (4, 6)


def padded_masks(make_masks: MakeMasks, *, shot: int = 1) -> NodeMasks:
    """24 nodes a side of which the last column is padding; 2 x 3 object nodes, and one covered by a quarter."""
    masks = make_masks(shot=shot, grid=GRID)
    masks.foreground[..., 3, 3] = 0.25
    valid = torch.ones(2, shot, *GRID, dtype=torch.bool)
    valid[..., -1] = False
    return replace(masks, query_valid=valid[:, 0], support_valid=valid)


def gather(masks: NodeMasks, longest: int | None = None) -> MatchedNodes:
    shot = masks.foreground.shape[1]
    return gather_nodes(torch.rand(2, 5, *GRID), torch.rand(2, shot, 5, *GRID), masks, longest)


def pose(
    masks: NodeMasks, *, transport: str = "partial", longest: int | None = None, **fields: object
) -> TransportProblem:
    return pose_problem(gather(masks, longest), transport, MatchingConfig(**fields))  # pyright: ignore[reportArgumentType]


def moved(problem: TransportProblem) -> Tensor:
    assert problem.mass is not None
    return problem.mass


@pytest.mark.parametrize(
    ("size", "supply", "demand", "mass"),
    [
        (6.0, 30.0, 40.0, 6.0),
        (0.2, 30.0, 40.0, 1.0),
        (0.0, 30.0, 40.0, 1.0),
        (30.0, 30.0, 40.0, 28.5),
        (1.0, 1.0, 9.0, 0.95),
    ],
)
def test_moved_mass_stays_between_one_node_and_a_partial_problem(
    size: float, supply: float, demand: float, mass: float
) -> None:
    assert_close(moved_mass(torch.tensor(size), torch.tensor(supply), torch.tensor(demand)), torch.tensor(mass))


def test_by_default_every_valid_node_weighs_one_and_the_objects_size_moves(make_masks: MakeMasks) -> None:
    masks = padded_masks(make_masks)
    problem = pose(masks)
    assert torch.equal(problem.supply, masks.support_valid.flatten(-2).float())
    assert torch.equal(problem.demand[:, 0], masks.query_valid.flatten(-2).float())
    assert_close(moved(problem), torch.full((2, 1), 6.25))


def test_the_binary_annotation_passes_what_is_half_object_and_the_soft_one_the_share(make_masks: MakeMasks) -> None:
    masks = padded_masks(make_masks)
    binary, soft = (pose(masks, annotation=name).annotation.unflatten(-1, GRID) for name in ("binary", "soft"))
    assert_close(soft, masks.foreground)
    assert_close(binary, (masks.foreground >= 0.5).float())


@pytest.mark.parametrize("fraction", [0.1, 0.5, 1.0])
def test_a_mass_fraction_is_one_of_the_smaller_total_whatever_the_object(
    fraction: float, make_masks: MakeMasks
) -> None:
    masks = padded_masks(make_masks)
    masks.query_valid[:, :2] = False
    assert_close(moved(pose(masks, mass_fraction=fraction)), torch.full((2, 1), fraction * 10))
    from_object = pose(masks, mass_fraction=fraction, suppliers="foreground")
    assert_close(moved(from_object), torch.full((2, 1), fraction * 6.25))


def test_cross_weights_follow_the_likeness_with_the_other_images_mean(make_masks: MakeMasks) -> None:
    masks = make_masks(grid=GRID)
    nodes = gather(masks)
    problem = pose_problem(nodes, "partial", MatchingConfig(weights="cross"))
    means = nodes.query.mean(1, keepdim=True), nodes.supports[:, 0].mean(1, keepdim=True)
    supply, demand = (nodes.supports[:, 0] * means[0]).sum(-1), (nodes.query * means[1]).sum(-1)
    for weights, alike in ((problem.supply[:, 0], supply), (problem.demand[:, 0], demand)):
        assert_close(weights, alike / alike.mean(-1, keepdim=True), rtol=0.01, atol=0.01)


@pytest.mark.parametrize("suppliers", ["all", "foreground"])
@pytest.mark.parametrize("shots", ["pairwise", "joint"])
def test_cross_weights_share_out_the_totals_of_uniform_ones_and_leave_the_mass(
    suppliers: str, shots: str, make_masks: MakeMasks
) -> None:
    masks = padded_masks(make_masks, shot=2)
    uniform, cross = (pose(masks, suppliers=suppliers, shots=shots, weights=name) for name in ("uniform", "cross"))
    for one, other in ((uniform.supply, cross.supply), (uniform.demand, cross.demand)):
        assert_close(one.sum(-1), other.sum(-1))
        assert torch.equal(one > 0, other > 0)
        assert not torch.allclose(one, other)
    assert_close(moved(uniform), moved(cross))


def test_images_that_resemble_each_other_nowhere_fall_back_to_uniform_weights(make_masks: MakeMasks) -> None:
    nodes = gather(padded_masks(make_masks))
    against = replace(nodes, supports=-nodes.supports)
    uniform, cross = (pose_problem(against, "partial", MatchingConfig(weights=name)) for name in ("uniform", "cross"))  # pyright: ignore[reportArgumentType]
    assert_close(cross.supply, uniform.supply)
    assert_close(cross.demand, uniform.demand)


def test_full_transport_moves_everything_and_scales_suppliers_to_the_demand(make_masks: MakeMasks) -> None:
    masks = padded_masks(make_masks)
    masks.query_valid[:, :2] = False
    for weights in ("uniform", "cross"):
        problem = pose(masks, transport="full", weights=weights)
        assert problem.mass is None
        assert_close(problem.supply.sum(-1), torch.full((2, 1), 10.0))
        assert_close(problem.demand.sum(-1), torch.full((2, 1), 10.0))


def test_a_joint_problem_has_the_totals_of_an_average_support(make_masks: MakeMasks) -> None:
    masks = padded_masks(make_masks, shot=2)
    masks.foreground[:, 1] = 0.0
    masks.foreground[:, 1, 0, :2] = 1.0
    for suppliers, supply in (("all", 20.0), ("foreground", (6.25 + 2) / 2)):
        problem = pose(masks, shots="joint", suppliers=suppliers)
        assert problem.suppliers.shape == (2, 1, 48, 5)
        assert_close(problem.supply.sum(-1), torch.full((2, 1), supply))
        assert_close(problem.demand.sum(-1), torch.full((2, 1), 20.0))
        assert_close(moved(problem), torch.full((2, 1), (6.25 + 2) / 2))


def test_averaged_nodes_keep_areas_and_leave_padding_out(make_masks: MakeMasks) -> None:
    masks = padded_masks(make_masks)
    query, supports = torch.ones(2, 5, *GRID), torch.ones(2, 1, 5, *GRID)
    query[..., -1], supports[..., -1] = 100.0, 100.0
    nodes = gather_nodes(query, supports, masks, 3)
    assert nodes.query_grid == nodes.support_grid == (2, 3)
    assert_close(nodes.query, torch.ones(2, 6, 5))
    assert_close(nodes.supports, torch.ones(2, 1, 6, 5))
    assert_close(nodes.query_share, torch.tensor([[1.0, 1.0, 0.5] * 2] * 2))
    assert_close(4 * nodes.query_share.sum(-1), torch.full((2,), 20.0))
    assert_close(4 * nodes.foreground.sum(-1), masks.foreground.sum((-2, -1)))


def test_the_annotation_of_an_averaged_node_counts_its_valid_part_alone(make_masks: MakeMasks) -> None:
    masks = padded_masks(make_masks)
    masks.foreground[..., :-1] = 1.0
    masks.foreground[..., -1] = 0.0
    assert pose(masks, annotation="soft", longest=3).annotation.eq(1).all()


@pytest.mark.parametrize(
    ("grid", "longest", "coarser"),
    [((60, 60), 30, (30, 30)), ((60, 45), 30, (30, 22)), ((40, 3), 10, (10, 1)), ((20, 30), 30, (20, 30))],
)
def test_averaging_keeps_the_aspect_and_never_enlarges(
    grid: tuple[int, int], longest: int, coarser: tuple[int, int], make_masks: MakeMasks
) -> None:
    nodes = gather_nodes(torch.rand(2, 5, *grid), torch.rand(2, 1, 5, *grid), make_masks(grid=grid), longest)
    assert nodes.query_grid == coarser
    assert nodes.query.shape == (2, coarser[0] * coarser[1], 5)
