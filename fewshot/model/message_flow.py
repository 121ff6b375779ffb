"""Message flow: nodes of one image (inner) and of two images (cross) tell each other what they see."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from fewshot.model.nodes import NodeMasks, confident_foreground
from fewshot.options import require_choices

FlowKind = Literal["inner", "cross"]

_SMALL = 1e-3


@dataclass(frozen=True)
class MessageFlowConfig:
    """How messages pass.

    Attributes:
        heads: Attention heads; the paper prints one.
        scaled: Divide dot products by the square root of their length. False is the paper's literal eq. 7, whose
            softmax saturates on features of 256 channels.
        neighbourhood: Side (odd, in nodes) of the window an inner message comes from; None means the whole image. The
            paper says «its neighbor nodes» without a number; SuperGlue, whose equations it has, takes the whole image.
        cross_keys: Support nodes that speak to the query: all, since the paper would transfer every support pixel's
            information, or those the object covers.
        shots: With several supports, average the query's features over one flow per support (`pairwise`, what the
            weights of one shot were trained for), or let the nodes of all supports share one softmax (`joint`). The
            paper is silent.
    """

    heads: int = 1
    scaled: bool = True
    neighbourhood: int | None = None
    cross_keys: Literal["all", "foreground"] = "all"
    shots: Literal["pairwise", "joint"] = "pairwise"

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: `heads` is not positive, `neighbourhood` is not odd and positive, or a name is unknown.
        """
        require_choices(self, "flow.")
        if self.heads < 1:
            raise ValueError(f"`heads` must be at least 1. Found {self.heads}. Pass 1 for the paper's attention.")
        if self.neighbourhood is not None and (self.neighbourhood < 1 or self.neighbourhood % 2 == 0):
            raise ValueError(
                f"`neighbourhood` must be odd and positive. Found {self.neighbourhood}. Pass an odd number of nodes, "
                f"or None for the whole image."
            )


class AttentionalPropagation(nn.Module):
    """One message to every node: `f' = f + MLP([f, m])`, `m = Σ_j softmax_j(q·k_j) v_j` (paper, eq. 6-8).

    The last layer starts small, so an untrained flow leaves the features nearly as they are.
    """

    def __init__(self, channels: int, heads: int, *, scaled: bool) -> None:
        super().__init__()
        self.heads = heads
        self.scale = None if scaled else 1.0
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        last = nn.Linear(2 * channels, channels)
        nn.init.normal_(last.weight, std=_SMALL)
        nn.init.zeros_(last.bias)
        self.update = nn.Sequential(nn.Linear(2 * channels, 2 * channels), nn.ReLU(), last)

    def forward(
        self,
        nodes: Float[Tensor, "batch n channels"],
        sources: Float[Tensor, "batch m channels"],
        keys: Bool[Tensor, "batch m"],
        window: Bool[Tensor, "n m"] | None = None,
    ) -> Float[Tensor, "batch n channels"]:
        """Send a message to `nodes` from those `sources` that are `keys` and inside the window.

        A node that no source may speak to keeps its features.
        """
        edges = keys[:, None, :] if window is None else keys[:, None, :] & window
        connected = edges.any(-1, keepdim=True)
        # A softmax over nothing is NaN; such rows attend to everything and are dropped by `connected`.
        attend = (edges | ~connected)[:, None]
        query, key, value = (
            projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projected in (self.query(nodes), self.key(sources), self.value(sources))
        )
        message = functional.scaled_dot_product_attention(query, key, value, attn_mask=attend, scale=self.scale)
        change = self.update(torch.cat([nodes, message.transpose(1, 2).flatten(-2)], dim=-1))
        return nodes + change * connected


def window_edges(height: int, width: int, side: int, device: torch.device) -> Bool[Tensor, "n n"]:
    """Connect the nodes of a grid whose row and column differ by at most `side // 2`."""
    rows = torch.arange(height, device=device).repeat_interleave(width)
    columns = torch.arange(width, device=device).repeat(height)
    reach = side // 2
    return ((rows[:, None] - rows).abs() <= reach) & ((columns[:, None] - columns).abs() <= reach)


class MessageFlow(nn.Module):
    """The sequence of inner and cross flows; every image uses the same weights, every flow its own.

    Args:
        channels: Length of a node's features.
        kinds: The flows in order; the paper's network is `("inner", "cross")`.
        config: How messages pass.
    """

    def __init__(self, channels: int, kinds: tuple[FlowKind, ...], config: MessageFlowConfig) -> None:
        super().__init__()
        self.kinds, self.config = kinds, config
        self.flows = nn.ModuleList(AttentionalPropagation(channels, config.heads, scaled=config.scaled) for _ in kinds)

    def forward(
        self,
        query: Float[Tensor, "batch channels h w"],
        supports: Float[Tensor, "batch shot channels hs ws"],
        masks: NodeMasks,
    ) -> tuple[Float[Tensor, "batch channels h w"], Float[Tensor, "batch shot channels hs ws"]]:
        """Enrich query and supports; padding sends nothing."""
        grid, support_grid = query.shape[-2:], supports.shape[-2:]
        query_nodes, support_nodes = query.flatten(-2).mT, supports.flatten(-2).mT
        query_keys, support_keys = masks.query_valid.flatten(-2), masks.support_valid.flatten(-2)
        foreground = confident_foreground(masks.foreground).flatten(-2) > 0
        spoken = support_keys if self.config.cross_keys == "all" else foreground
        for kind, flow in zip(self.kinds, self.flows, strict=True):
            if kind == "inner":
                query_nodes = flow(query_nodes, query_nodes, query_keys, self._window(grid, query.device))
                flat = support_nodes.flatten(0, 1)
                window = self._window(support_grid, query.device)
                support_nodes = flow(flat, flat, support_keys.flatten(0, 1), window).view_as(support_nodes)
            else:
                query_nodes, support_nodes = self._cross(flow, query_nodes, support_nodes, query_keys, spoken)
        return query_nodes.mT.unflatten(-1, grid), support_nodes.mT.unflatten(-1, support_grid)

    def _window(self, grid: torch.Size, device: torch.device) -> Tensor | None:
        if self.config.neighbourhood is None:
            return None
        return window_edges(grid[0], grid[1], self.config.neighbourhood, device)

    def _cross(
        self, flow: nn.Module, query: Tensor, supports: Tensor, query_keys: Tensor, support_keys: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update both sides at once, each from the other's features before the update."""
        batch, shot = supports.shape[:2]
        flat, flat_keys = supports.flatten(0, 1), support_keys.flatten(0, 1)
        paired = query[:, None].expand(-1, shot, -1, -1).flatten(0, 1)
        paired_keys = query_keys[:, None].expand(-1, shot, -1).flatten(0, 1)
        new_supports = flow(flat, paired, paired_keys).view_as(supports)
        if self.config.shots == "joint":
            return flow(query, supports.flatten(1, 2), support_keys.flatten(1, 2)), new_supports
        return flow(paired, flat, flat_keys).unflatten(0, (batch, shot)).mean(1), new_supports
