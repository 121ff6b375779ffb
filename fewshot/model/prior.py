"""Prior mask (PFENet): the query nodes that resemble some node of the support's object."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from fewshot.model.nodes import NodeMasks, scale_to_unit

_EPSILON = 1e-7


@torch.no_grad()
def compute_prior(
    query: Float[Tensor, "batch channels h w"],
    supports: Float[Tensor, "batch shot channels hs ws"],
    masks: NodeMasks,
) -> Float[Tensor, "batch h w"]:
    """Give each query node its greatest cosine similarity with the support's object, scaled to [0, 1] per image.

    Several supports are averaged. The map carries no gradient, and the scale of the features does not matter. A mask
    that is empty gives a map of zeros.

    Args:
        query: High-level features.
        supports: Likewise.
        masks: Support features are multiplied by the object's share, which leaves the cosine of object nodes as it
            is and sets that of all others to 0; padding of the supports counts for nothing. Padding of the query
            gets 0.

    References:
        Tian et al. (2020), Prior Guided Feature Enrichment Network for Few-Shot Segmentation, section 3.2.
    """
    masked = supports.float() * masks.foreground.unsqueeze(2)
    query_nodes = functional.normalize(query.float().flatten(-2), dim=1, eps=_EPSILON)
    maps = []
    # Cosines differ in digits that half precision has not, and the map is stretched to what they differ by.
    with torch.autocast(query.device.type, enabled=False):
        # One support at a time: the similarities of 60 x 60 nodes are 52 MB per pair.
        for shot, valid in zip(masked.unbind(1), masks.support_valid.unbind(1), strict=True):
            nodes = functional.normalize(shot.flatten(-2), dim=1, eps=_EPSILON)
            likeness = (nodes.mT @ query_nodes).masked_fill(~valid.flatten(-2).unsqueeze(-1), -1.0)
            maps.append(scale_to_unit(likeness.amax(1).unflatten(-1, query.shape[-2:]), masks.query_valid))
    return torch.stack(maps).mean(0)
