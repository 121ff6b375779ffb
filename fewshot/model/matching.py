"""Matching by optimal transport between the nodes of support and query: the paper's central module."""

import math
import warnings
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from fewshot.model.grids import extend_over_padding
from fewshot.model.matching_config import MatchingConfig, TransportName
from fewshot.model.matching_problem import TransportProblem, gather_nodes, pose_problem
from fewshot.model.nodes import NodeMasks, scale_to_unit
from partialot import ConvergenceWarning, Implicit, Sinkhorn
from partialot.nn import TransportMatching

_ROWS = 256
# The logarithm of what is 0 must be a number for their product to be 0.
_LEAST = torch.finfo(torch.float32).tiny

__all__ = ["Match", "MatchingConfig", "OptimalTransportMatching", "TransportName"]


@dataclass(frozen=True)
class Match:
    """Result of matching the supports of each task with its query.

    Attributes:
        map: How much of each query node's capacity the supports' objects fill, mean over shots; 0 on padding.
        plan: Mass moved from each support node to each query node, before the mask filters it.
        query_grid: Rows and columns of the query nodes that were matched, which unfold m.
        support_grid: Rows and columns of the support nodes that were matched, which unfold n.
        fg_flow_fraction: Share of the mass moved that comes from the object, in [0, 1], mean over shots: how much of
            the plan passes the filter. No gradient.
        flow_entropy: Entropy of the plan over that of mass spread evenly over all pairs, in [0, 1], mean over shots:
            low where few pairs carry the flow. No gradient.
    """

    map: Float[Tensor, "batch h w"]
    plan: Float[Tensor, "batch shot n m"]
    query_grid: tuple[int, int]
    support_grid: tuple[int, int]
    fg_flow_fraction: Float[Tensor, " batch"]
    flow_entropy: Float[Tensor, " batch"]


class OptimalTransportMatching(nn.Module):
    """Transport from support nodes (suppliers) to query nodes (demanders) at the cost 1 - cos (paper, eq. 2-4).

    `partial` moves as much mass as the object is large in the support, `full` everything; `pose_problem` has the
    details. The plan is filtered by the support's annotation, summed over suppliers and set against what each query
    node could take. Prices, transport and maps are computed in single precision under autocast too. Padding gives and
    gets nothing.

    An empty mask gives a map of zeros: one node's mass is moved, and none of it passes the filter.

    Args:
        transport: Which problem is solved.
        config: Its numbers.
    """

    def __init__(self, transport: Literal["full", "partial"], config: MatchingConfig) -> None:
        super().__init__()
        self.transport: Literal["full", "partial"] = transport
        self.config = config
        self.solve = TransportMatching(
            cost="cosine",
            reg=config.reg,
            solver=Sinkhorn(max_iter=config.max_iter, tol=config.tol),
            # Derivatives of a plan that is only as exact as this need be no exacter.
            gradient=Implicit(tol=config.tol),
        )

    def forward(
        self,
        query: Float[Tensor, "batch channels h w"],
        supports: Float[Tensor, "batch shot channels hs ws"],
        masks: NodeMasks,
    ) -> Match:
        """Match each support, or all of them together, with the query of its task."""
        if self.config.detach:
            query, supports = query.detach(), supports.detach()
        with torch.autocast(query.device.type, enabled=False):
            nodes = gather_nodes(query, supports, masks, self.config.grid)
            problem = pose_problem(nodes, self.transport, self.config)
            plan = self._transport(problem)
            received = (problem.annotation.unsqueeze(-2) @ plan).squeeze(-2)
            filled = received / torch.where(problem.demand > 0, problem.demand, torch.ones_like(problem.demand))
            maps = self._draw(filled.unflatten(-1, nodes.query_grid), problem, masks)
            fraction, entropy = _describe(plan, received, problem)
        shape = (*nodes.supports.shape[:3], plan.shape[-1])
        return Match(maps, plan.reshape(shape), nodes.query_grid, nodes.support_grid, fraction, entropy)

    def _transport(self, problem: TransportProblem) -> Float[Tensor, "batch problem n m"]:
        """Solve every problem of the batch."""
        with warnings.catch_warnings():
            # Stopping after `max_iter` is the method here, not a failure.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return self.solve(
                problem.suppliers, problem.demanders, problem.supply, problem.demand, mass=problem.mass
            ).plan

    def _draw(
        self, filled: Float[Tensor, "batch problem hm wm"], problem: TransportProblem, masks: NodeMasks
    ) -> Float[Tensor, "batch h w"]:
        """Bring the maps to the query's grid and one scale, and average them."""
        grid = (masks.query_valid.shape[-2], masks.query_valid.shape[-1])
        if filled.shape[-2:] != grid:
            taking = (problem.demand[:, 0] > 0).unflatten(-1, filled.shape[-2:])
            # Cells lie between the nodes that they are means of: centres are aligned, not corners.
            filled = functional.interpolate(extend_over_padding(filled, taking), grid, mode="bilinear")
        valid = masks.query_valid.unsqueeze(1).expand(filled.shape)
        if self.config.scale_map == "minmax":
            return scale_to_unit(filled, valid).mean(1)
        return filled.masked_fill(~valid, 0.0).mean(1)


@torch.no_grad()
def _describe(
    plan: Float[Tensor, "batch problem n m"], received: Float[Tensor, "batch problem m"], problem: TransportProblem
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """Give the share of the flow that passed the filter, and its entropy; see `Match`."""
    moved = plan.sum((-2, -1))
    # Of x / M, out of sums over x, some rows at a time: a second matrix would cost more time than its logarithms.
    blocks = plan.split(_ROWS, dim=-2)
    logarithms = sum(rows.clamp(min=_LEAST).log_().mul_(rows).sum((-2, -1)) for rows in blocks)
    entropy = moved.log() - logarithms / moved
    pairs = (problem.supply > 0).sum(-1) * (problem.demand > 0).sum(-1)
    # A single pair leaves nothing to spread.
    most = pairs.to(plan.dtype).log().clamp(min=math.log(2))
    return (received.sum(-1) / moved).mean(1), (entropy / most).clamp(0, 1).mean(1)
