"""Matching by optimal transport between the nodes of support and query: the paper's central module."""

import warnings
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.model.nodes import NodeMasks, confident_foreground, scale_to_unit
from partialot import ConvergenceWarning, Implicit, Sinkhorn
from partialot.nn import TransportMatching

TransportName = Literal["none", "full", "partial"]

_LARGEST_SHARE = 0.95
_SMALLEST_MASS = 1.0


@dataclass(frozen=True)
class MatchingConfig:
    """The transport problem, and how its plan becomes a map.

    Attributes:
        suppliers: Support nodes that have mass to give: all of them, the mask filtering the plan afterwards (the
            paper's words), or the object only (each node as much as the object covers of it).
        reg: Entropic regularisation in units of the cost 1 - cos, which lies in [0, 2].
        max_iter: Sinkhorn iterations at most.
        tol: Marginal error, relative to the mass moved, at which iterating stops; also that of the gradient's system.
        mass_ratio: Mass moved as a multiple of the object's size in the support (partial transport only).
        features: What is compared: features after the message flow (`post`) or before it (`reduced`), or the frozen
            backbone's (`mid`, `high`).
        scale_map: Stretch each map to [0, 1] per image (`minmax`) or leave the flow as it is (`none`).
        detach: Let no gradient pass through the plan.
    """

    suppliers: Literal["all", "foreground"] = "all"
    reg: float = 0.1
    max_iter: int = 50
    tol: float = 1e-3
    mass_ratio: float = 1.0
    features: Literal["post", "reduced", "mid", "high"] = "post"
    scale_map: Literal["minmax", "none"] = "minmax"
    detach: bool = False

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: `reg`, `max_iter`, `tol` or `mass_ratio` is not positive.
        """
        for name in ("reg", "max_iter", "tol", "mass_ratio"):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"`matching.{name}` must be positive. Found {getattr(self, name)}. Leave it out for the default."
                )


@dataclass(frozen=True)
class Match:
    """Result of matching the supports of each task with its query.

    Attributes:
        map: How much of each query node's capacity the supports' objects fill, mean over shots; 0 on padding.
        plan: Mass moved from each support node to each query node, before the mask filters it.
    """

    map: Float[Tensor, "batch h w"]
    plan: Float[Tensor, "batch shot n m"]


def moved_mass(
    size: Float[Tensor, "*batch"], supply: Float[Tensor, "*batch"], demand: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """Bring the object's size into the range that partial transport can move: [1, 0.95 · min(supply, demand)].

    The lower end gives an object smaller than one node (or an empty mask) one node's mass, the upper end keeps the
    problem partial. Where the two ends cross, as with a single node, the upper end holds.
    """
    return torch.minimum(size.clamp(min=_SMALLEST_MASS), _LARGEST_SHARE * torch.minimum(supply, demand))


class OptimalTransportMatching(nn.Module):
    """Transport from support nodes (suppliers) to query nodes (demanders) at the cost 1 - cos (paper, eq. 2-4).

    Every valid node weighs 1. `partial` moves as much mass as the object is large in the support; `full` moves
    everything, the suppliers' weights being scaled to the demanders' total where padding makes the two differ.
    The plan is filtered by the support's annotation and summed over suppliers.

    An empty mask gives a map of zeros: one node's mass is moved, and none of it passes the filter.

    Args:
        transport: Which problem is solved.
        config: Its numbers.
    """

    def __init__(self, transport: Literal["full", "partial"], config: MatchingConfig) -> None:
        super().__init__()
        self.transport, self.config = transport, config
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
        """Match each support with the query of its task: one transport problem per pair."""
        if self.config.detach:
            query, supports = query.detach(), supports.detach()
        annotation, a, b, mass = self._pose(masks)
        suppliers = supports.float().flatten(-2).mT
        demanders = query.float().flatten(-2).mT.unsqueeze(1).expand(-1, suppliers.shape[1], -1, -1)
        with warnings.catch_warnings():
            # Stopping after `max_iter` is the method here, not a failure.
            warnings.simplefilter("ignore", ConvergenceWarning)
            plan = self.solve(suppliers, demanders, a, b, mass=mass).plan
        # Every demander can take 1, so what it receives is its share already.
        received = (annotation.unsqueeze(-1) * plan).sum(-2)
        maps = received.unflatten(-1, query.shape[-2:])
        if self.config.scale_map == "minmax":
            maps = scale_to_unit(maps, masks.query_valid.unsqueeze(1).expand(maps.shape))
        return Match(maps.mean(1), plan)

    def _pose(self, masks: NodeMasks) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Say which suppliers pass the filter, what suppliers and demanders weigh, and how much mass moves."""
        valid, share = masks.support_valid.flatten(-2).float(), masks.foreground.flatten(-2)
        b = masks.query_valid.flatten(-2).float().unsqueeze(1).expand(-1, share.shape[1], -1)
        annotation = confident_foreground(masks.foreground).flatten(-2)
        if self.transport == "full":
            # Padding may leave one side more nodes than the other; balanced transport needs equal totals.
            return annotation, valid * (b.sum(-1, keepdim=True) / valid.sum(-1, keepdim=True)), b, None
        size, supply, demand = self.config.mass_ratio * share.sum(-1), valid.sum(-1), b.sum(-1)
        mass = moved_mass(size, supply, demand)
        if self.config.suppliers == "all":
            return annotation, valid, b, mass
        # An empty mask supplies nothing: every node stands in, and the filter below lets none of it through.
        empty = share.sum(-1) == 0
        whole = torch.minimum(torch.minimum(size, share.sum(-1)), _LARGEST_SHARE * demand)
        a = torch.where(empty.unsqueeze(-1), valid, share)
        return (share > 0).float(), a, b, torch.where(empty, mass, whole)
