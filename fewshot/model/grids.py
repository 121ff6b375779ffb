"""Maps on grids of which some nodes are padding: every change of resolution goes by the valid nodes alone."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional


def pool_share(weights: Float[Tensor, "*batch h w"], size: tuple[int, int]) -> Float[Tensor, "*batch hp wp"]:
    """Average weights, such as validity or an object's share, over the cells of a coarser grid."""
    # Pooling to the same grid is the identity, at the price of the transport problem that follows.
    if weights.shape[-2:] == size:
        return weights
    return functional.adaptive_avg_pool2d(weights.flatten(0, -3), size).unflatten(0, weights.shape[:-2])


def pool_over_valid(
    features: Float[Tensor, "*batch channels h w"], valid: Bool[Tensor, "*batch h w"], size: tuple[int, int]
) -> Float[Tensor, "*batch channels hp wp"]:
    """Give each cell of a coarser grid the mean of the valid nodes in it; 0 where there is none."""
    kept = features * valid.unsqueeze(-3)
    if features.shape[-2:] == size:
        return kept
    means = functional.adaptive_avg_pool2d(kept.flatten(0, -4), size).unflatten(0, features.shape[:-3])
    share = pool_share(valid.to(features.dtype), size).unsqueeze(-3)
    return means / torch.where(share > 0, share, torch.ones_like(share))


def extend_over_padding(
    maps: Float[Tensor, "batch channels h w"], valid: Bool[Tensor, "batch h w"]
) -> Float[Tensor, "batch channels h w"]:
    """Repeat valid nodes over the padding beside them: interpolation then ends as if the grid had ended there.

    A padded node takes the value of the nearest valid node of its row; a row of padding alone is a copy of the nearest
    row that has a valid node. A map without any valid node stays as it is.
    """
    width = valid.shape[-1]
    rows = _nearest_true(valid.any(-1))
    columns = _nearest_true(valid).take_along_dim(rows.unsqueeze(-1), dim=-2)
    source = (rows.unsqueeze(-1) * width + columns).flatten(-2)
    return maps.flatten(-2).take_along_dim(source.unsqueeze(-2), dim=-1).view_as(maps)


def _nearest_true(flags: Bool[Tensor, "*batch n"]) -> Int[Tensor, "*batch n"]:
    """Give the index of the nearest True for each place, the earlier of two; its own where there is no True."""
    places = torch.arange(flags.shape[-1], device=flags.device).expand(flags.shape)
    none = flags.shape[-1] * 2
    before = torch.where(flags, places, -none).cummax(-1).values
    after = torch.where(flags, places, 2 * none).flip(-1).cummin(-1).values.flip(-1)
    nearest = torch.where(places - before <= after - places, before, after)
    return torch.where(flags.any(-1, keepdim=True), nearest, places)
