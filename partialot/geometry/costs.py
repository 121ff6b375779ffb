"""Prices between feature vectors, as matrices.

Sums of products are taken as differences only where that is exact enough: squared distances are formed after centring,
which leaves them unchanged and keeps the digits that a common offset would eat.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

CostFunction = Callable[[Tensor, Tensor], Tensor]
"""From x (*batch, n, d) and y (*batch, m, d) to prices (*batch, n, m)."""


def cosine(x: Float[Tensor, "*batch n d"], y: Float[Tensor, "*batch m d"]) -> Float[Tensor, "*batch n m"]:
    """1 − cos(x_i, y_j), in [0, 2]; a zero vector is at right angles to everything."""
    return 1 - torch.nn.functional.normalize(x, dim=-1) @ torch.nn.functional.normalize(y, dim=-1).mT


def sqeuclidean(x: Float[Tensor, "*batch n d"], y: Float[Tensor, "*batch m d"]) -> Float[Tensor, "*batch n m"]:
    """|x_i − y_j|², at least 0."""
    centre = y.mean(-2, keepdim=True).detach()
    x, y = x - centre, y - centre
    return (x.square().sum(-1).unsqueeze(-1) + y.square().sum(-1).unsqueeze(-2) - 2 * x @ y.mT).clamp(min=0)


def euclidean(x: Float[Tensor, "*batch n d"], y: Float[Tensor, "*batch m d"]) -> Float[Tensor, "*batch n m"]:
    """|x_i − y_j|; its derivative where two points coincide is 0, a subgradient."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def dot(x: Float[Tensor, "*batch n d"], y: Float[Tensor, "*batch m d"]) -> Float[Tensor, "*batch n m"]:
    """−⟨x_i, y_j⟩: the more alike, the cheaper; negative prices are as good as any."""
    return -(x @ y.mT)


COSTS: Mapping[str, CostFunction] = MappingProxyType(
    {"cosine": cosine, "sqeuclidean": sqeuclidean, "euclidean": euclidean, "dot": dot}
)
"""The prices known by name."""
