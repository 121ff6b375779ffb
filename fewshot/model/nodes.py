"""From pixels to nodes: masks and validity at the resolution of the features, and the scaling of maps."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

_FOREGROUND = 1


@dataclass(frozen=True)
class NodeMasks:
    """What is known of every node before the network looks at it.

    Attributes:
        query_valid: False where a query node lies on padding.
        support_valid: Likewise for the supports.
        foreground: Share of each support node that the object covers, in [0, 1]; 0 on padding.
    """

    query_valid: Bool[Tensor, "batch h w"]
    support_valid: Bool[Tensor, "batch shot hs ws"]
    foreground: Float[Tensor, "batch shot hs ws"]


@dataclass(frozen=True)
class NodeFeatures:
    """One description of all nodes, of queries and supports alike.

    Attributes:
        query: One image a task.
        supports: `shot` images a task.
    """

    query: Float[Tensor, "batch channels h w"]
    supports: Float[Tensor, "batch shot channels hs ws"]

    def keep(self, masks: NodeMasks) -> "NodeFeatures":
        """Put zeros on padding, whatever was there: the rest of the network sees an image that ends before it."""
        return NodeFeatures(
            self.query.masked_fill(~masks.query_valid.unsqueeze(-3), 0.0),
            self.supports.masked_fill(~masks.support_valid.unsqueeze(-3), 0.0),
        )


def foreground_share(
    masks: Int[Tensor, "batch shot height width"], grid: tuple[int, int]
) -> Float[Tensor, "batch shot h w"]:
    """Say how much of each node's area the object covers, in [0, 1].

    Averaging keeps an object of a few pixels, which nearest or bilinear sampling would lose. Labels other than 1
    (background, ignored) count as background.
    """
    return functional.adaptive_avg_pool2d((masks == _FOREGROUND).float(), grid)


def valid_nodes(
    valid: Bool[Tensor, "batch shot height width"], grid: tuple[int, int]
) -> Bool[Tensor, "batch shot h w"]:
    """Say which nodes look at the image and not at padding: those whose area is image by at least half.

    An image so small that it covers no node by half keeps the nodes it covers most.

    Raises:
        ValueError: An image has no valid pixel at all.
    """
    share = functional.adaptive_avg_pool2d(valid.float(), grid)
    largest = share.amax((-2, -1), keepdim=True)
    empty = (largest[..., 0, 0] == 0).nonzero()
    if len(empty):
        raise ValueError(
            f"Every image must have at least one valid pixel. Found none in image {empty[0].tolist()} (task, shot) of "
            f"{tuple(valid.shape)}. Leave images that are padding throughout out of the episode."
        )
    return share >= largest.clamp(max=0.5)


def find_nodes(
    support_masks: Int[Tensor, "batch shot support_height support_width"],
    query_valid: Bool[Tensor, "batch height width"] | None,
    support_valid: Bool[Tensor, "batch shot support_height support_width"] | None,
    grid: tuple[int, int],
    support_grid: tuple[int, int],
) -> NodeMasks:
    """Bring masks and validity from pixels to the nodes of query (`grid`) and supports (`support_grid`).

    A validity of None means that nothing is padded.
    """
    everything = torch.ones((), dtype=torch.bool, device=support_masks.device)
    batch, shot = support_masks.shape[:2]
    query = everything.expand(batch, *grid)
    supports = everything.expand(batch, shot, *support_grid)
    if query_valid is not None:
        query = valid_nodes(query_valid.unsqueeze(1), grid).squeeze(1)
    if support_valid is not None:
        supports = valid_nodes(support_valid, support_grid)
        support_masks = support_masks * support_valid
    return NodeMasks(query, supports, foreground_share(support_masks, support_grid) * supports)


def confident_foreground(share: Float[Tensor, "*batch h w"]) -> Float[Tensor, "*batch h w"]:
    """Turn shares into the binary annotation of nodes: 1 where the object covers at least half.

    Where no node of a mask is covered by half (a small object) the shares themselves are kept, so that the object
    does not vanish.
    """
    binary = (share >= 0.5).to(share.dtype)
    return torch.where(binary.amax((-2, -1), keepdim=True) > 0, binary, share)


def scale_to_unit(maps: Float[Tensor, "*batch h w"], valid: Bool[Tensor, "*batch h w"]) -> Float[Tensor, "*batch h w"]:
    """Stretch each map so that its valid nodes span [0, 1]; a constant map and padding become 0."""
    lowest = maps.masked_fill(~valid, float("inf")).amin((-2, -1), keepdim=True)
    highest = maps.masked_fill(~valid, float("-inf")).amax((-2, -1), keepdim=True)
    spread = highest - lowest
    scaled = (maps - lowest) / torch.where(spread > 0, spread, torch.ones_like(spread))
    return scaled.masked_fill(~valid, 0.0)
