"""Posing the transport problem: which nodes give and take, and how much; how much moves; what passes the filter."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.model.grids import pool_over_valid, pool_share
from fewshot.model.matching_config import MatchingConfig
from fewshot.model.nodes import NodeMasks, confident_foreground

_LARGEST_SHARE = 0.95
_SMALLEST_MASS = 1.0
# DeepEMD's, relative to the mean here: a node that resembles nothing can still be matched.
_LEAST_WEIGHT = 1e-3


@dataclass(frozen=True)
class MatchedNodes:
    """Nodes of query and supports, as coarse as they are matched, in single precision.

    Attributes:
        query: Features of the query's nodes.
        supports: Features of each support's nodes.
        query_share: How much of a query node is image and not padding: 0 or 1 unless nodes were averaged.
        support_share: Likewise for the supports.
        foreground: How much of a support node the object covers, at most its share.
        query_grid: Rows and columns of the query's nodes.
        support_grid: Rows and columns of the supports' nodes.
    """

    query: Float[Tensor, "batch m channels"]
    supports: Float[Tensor, "batch shot n channels"]
    query_share: Float[Tensor, "batch m"]
    support_share: Float[Tensor, "batch shot n"]
    foreground: Float[Tensor, "batch shot n"]
    query_grid: tuple[int, int]
    support_grid: tuple[int, int]


@dataclass(frozen=True)
class TransportProblem:
    """One problem for each support, or a single one for all.

    Attributes:
        suppliers: Features of the nodes that give.
        demanders: Features of the nodes that take.
        supply: What each supplier can give; 0 on padding.
        demand: What each demander can take; 0 on padding.
        mass: What moves; None when everything does.
        annotation: Share of each supplier's mass that passes the filter, in [0, 1].
    """

    suppliers: Float[Tensor, "batch problem n channels"]
    demanders: Float[Tensor, "batch problem m channels"]
    supply: Float[Tensor, "batch problem n"]
    demand: Float[Tensor, "batch problem m"]
    mass: Float[Tensor, "batch problem"] | None
    annotation: Float[Tensor, "batch problem n"]


def gather_nodes(
    query: Float[Tensor, "batch channels h w"],
    supports: Float[Tensor, "batch shot channels hs ws"],
    masks: NodeMasks,
    longest: int | None,
) -> MatchedNodes:
    """List the nodes of both sides, averaged down to grids whose longer side has at most `longest` nodes.

    A coarser node is the mean of the valid nodes in it, and weighs as much of a node as is valid: totals and areas,
    counted in coarser nodes, are those of the finer grid.
    """
    query_grid = _coarser((query.shape[-2], query.shape[-1]), longest)
    support_grid = _coarser((supports.shape[-2], supports.shape[-1]), longest)
    return MatchedNodes(
        query=pool_over_valid(query.float(), masks.query_valid, query_grid).flatten(-2).mT,
        supports=pool_over_valid(supports.float(), masks.support_valid, support_grid).flatten(-2).mT,
        query_share=pool_share(masks.query_valid.float(), query_grid).flatten(-2),
        support_share=pool_share(masks.support_valid.float(), support_grid).flatten(-2),
        foreground=pool_share(masks.foreground, support_grid).flatten(-2),
        query_grid=query_grid,
        support_grid=support_grid,
    )


def _coarser(grid: tuple[int, int], longest: int | None) -> tuple[int, int]:
    """Shrink a grid in proportion until no side is longer than that."""
    if longest is None or max(grid) <= longest:
        return grid
    rows, columns = (max(1, round(side * longest / max(grid))) for side in grid)
    return rows, columns


def moved_mass(
    size: Float[Tensor, "*batch"], supply: Float[Tensor, "*batch"], demand: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """Bring the object's size into the range that partial transport can move: [1, 0.95 · min(supply, demand)].

    The lower end gives an object smaller than one node (or an empty mask) one node's mass, the upper end keeps the
    problem partial. Where the two ends cross, as with a single node, the upper end holds.
    """
    return torch.minimum(size.clamp(min=_SMALLEST_MASS), _LARGEST_SHARE * torch.minimum(supply, demand))


def pose_problem(
    nodes: MatchedNodes, transport: Literal["full", "partial"], config: MatchingConfig
) -> TransportProblem:
    """Say what every node gives and takes, how much mass moves, and what passes the filter.

    With uniform weights every whole node weighs 1, and as much as the object covers of it if only the object supplies.
    Weights `cross` share out the same totals by ``relu(<node, mean of the other image's nodes>)``, relative to their
    mean, plus 1e-3. The totals being the same, the mass keeps its meaning as a number of average nodes, known from the
    annotation alone. It is the object's size times `mass_ratio`, within the range of `moved_mass`; suppliers that are
    the object give all they have at a ratio of 1, were it less than a node's. With `mass_fraction` it is that share of
    the smaller total.

    Full transport moves everything, the suppliers' weights being scaled to the demanders' total where padding makes
    the two differ. In a joint problem of k supports each node weighs 1/k, so that supply, size and mass are those of
    an average support.
    """
    annotation = _annotate(nodes, config)
    supports, share, foreground = nodes.supports, nodes.support_share, nodes.foreground
    if config.shots == "joint":
        shot = supports.shape[1]
        supports, annotation = supports.flatten(1, 2).unsqueeze(1), annotation.flatten(1, 2).unsqueeze(1)
        share, foreground = (x.flatten(1, 2).unsqueeze(1) / shot for x in (share, foreground))
    demanders = nodes.query.unsqueeze(1).expand(-1, supports.shape[1], -1, -1)
    supply, demand = share, nodes.query_share.unsqueeze(1).expand(demanders.shape[:-1])
    empty = foreground.sum(-1, keepdim=True) == 0
    if config.suppliers == "foreground":
        # An empty mask supplies nothing: every node stands in, and the filter lets none of it through.
        supply = torch.where(empty, share, foreground)
    mass = _choose_mass(foreground.sum(-1), supply.sum(-1), demand.sum(-1), config)
    if transport == "full":
        supply, mass = supply * (demand.sum(-1, keepdim=True) / supply.sum(-1, keepdim=True)), None
    if config.weights == "cross":
        supply, demand = (
            _by_likeness(supports, supply, demanders, demand),
            _by_likeness(demanders, demand, supports, supply),
        )
    return TransportProblem(supports, demanders, supply, demand, mass, annotation)


def _annotate(nodes: MatchedNodes, config: MatchingConfig) -> Float[Tensor, "batch shot n"]:
    """Say what share of each support node's mass passes the filter."""
    if config.suppliers == "foreground":
        return (nodes.foreground > 0).to(nodes.foreground.dtype)
    whole = torch.where(nodes.support_share > 0, nodes.support_share, torch.ones_like(nodes.support_share))
    # Rounding of a mean must not let more pass than there is.
    covered = (nodes.foreground / whole).clamp(max=1.0)
    if config.annotation == "soft":
        return covered
    return confident_foreground(covered.unflatten(-1, nodes.support_grid)).flatten(-2)


def _choose_mass(size: Tensor, supply: Tensor, demand: Tensor, config: MatchingConfig) -> Float[Tensor, "*batch"]:
    if config.mass_fraction is not None:
        return config.mass_fraction * torch.minimum(supply, demand)
    usual = moved_mass(config.mass_ratio * size, supply, demand)
    if config.suppliers == "all":
        return usual
    whole = torch.minimum(torch.minimum(config.mass_ratio * size, supply), _LARGEST_SHARE * demand)
    return torch.where(size > 0, whole, usual)


def _by_likeness(nodes: Tensor, weights: Tensor, others: Tensor, other_weights: Tensor) -> Float[Tensor, "*batch n"]:
    """Share the total of the weights out by how each node resembles the weighted mean of the others."""
    total = weights.sum(-1, keepdim=True)
    mean = (other_weights.unsqueeze(-1) * others).sum(-2) / other_weights.sum(-1, keepdim=True)
    alike = torch.relu((nodes * mean.unsqueeze(-2)).sum(-1))
    usual = (weights * alike).sum(-1, keepdim=True) / total
    shared = weights * (alike / torch.where(usual > 0, usual, torch.ones_like(usual)) + _LEAST_WEIGHT)
    return shared * (total / shared.sum(-1, keepdim=True))
