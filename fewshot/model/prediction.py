"""What the network answers."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Prediction:
    """Segmentation of a batch of queries, with the maps that led to it.

    The loss of an episode is `CE(logits) + Σ_i auxiliary_weights[i] · CE(auxiliary[i])`: every refinement pass counts
    alike, and the scales of a feature-enrichment decoder share the weight of one.

    Attributes:
        logits: Scores of background (channel 0) and object (channel 1) at the query image's size.
        auxiliary: Further logits of the same size that training supervises; empty when the network is in eval mode.
        auxiliary_weights: Weight of each of them in the loss.
        prior_map: Prior mask of the query's nodes in [0, 1]; None when switched off.
        transport_map: Transport map of the query's nodes, mean over shots; None when switched off.
        plan: Mass moved from each node of each support (n, row by row) to each node of the query (m); None without
            transport, as all that follows.
        query_grid: Rows and columns of the query's nodes in the plan, which unfold m: fewer than the map has where
            transport was solved between averaged nodes.
        support_grid: Rows and columns of the support's nodes in the plan, which unfold n.
        fg_flow_fraction: Share of the mass moved that comes from the object; see `Match`.
        flow_entropy: How evenly the mass is spread over pairs of nodes; see `Match`.
    """

    logits: Float[Tensor, "batch 2 height width"]
    auxiliary: tuple[Float[Tensor, "batch 2 height width"], ...] = ()
    auxiliary_weights: tuple[float, ...] = ()
    prior_map: Float[Tensor, "batch h w"] | None = None
    transport_map: Float[Tensor, "batch h w"] | None = None
    plan: Float[Tensor, "batch shot n m"] | None = None
    query_grid: tuple[int, int] | None = None
    support_grid: tuple[int, int] | None = None
    fg_flow_fraction: Float[Tensor, " batch"] | None = None
    flow_entropy: Float[Tensor, " batch"] | None = None

    @property
    def probability(self) -> Float[Tensor, "batch height width"]:
        """Probability of the object at each pixel."""
        return torch.softmax(self.logits, dim=1)[:, 1]

    @property
    def mask(self) -> Int[Tensor, "batch height width"]:
        """1 where the object is the likelier class, 0 elsewhere."""
        return self.logits.argmax(dim=1)
