"""Prices between feature vectors, as matrices.

Most are inner products of vectors made of the features, one product of matrices a block. Sums of products are taken as
differences only where that is exact enough: squared distances are formed after centring, which leaves them unchanged
and keeps the digits that a common offset would eat.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from partialot.kernels.primitives import Cloud

CostFunction = Callable[[Tensor, Tensor], Tensor]
"""From x (*batch, n, d) and y (*batch, m, d) to prices (*batch, n, m)."""

Lift = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From x (*batch, n, d) and y (*batch, m, d) to vectors (*batch, n, k) and (*batch, m, k)."""


def lift_cosine(
    x: Float[Tensor, "*#batch n d"], y: Float[Tensor, "*#batch m d"]
) -> tuple[Float[Tensor, "*#batch n k"], Float[Tensor, "*#batch m k"]]:
    """Give vectors whose inner products are 1 − cos(x_i, y_j)."""
    x, y = torch.nn.functional.normalize(x, dim=-1), torch.nn.functional.normalize(y, dim=-1)
    return torch.cat((-x, _ones(x)), dim=-1), torch.cat((y, _ones(y)), dim=-1)


def lift_sqeuclidean(
    x: Float[Tensor, "*#batch n d"], y: Float[Tensor, "*#batch m d"]
) -> tuple[Float[Tensor, "*#batch n k"], Float[Tensor, "*#batch m k"]]:
    """Give vectors whose inner products are |x_i − y_j|²; the centre is that of y, whichever sources are asked for."""
    centre = y.mean(-2, keepdim=True).detach()
    x, y = x - centre, y - centre
    squares = x.square().sum(-1, keepdim=True), y.square().sum(-1, keepdim=True)
    return torch.cat((-2 * x, squares[0], _ones(x)), dim=-1), torch.cat((y, _ones(y), squares[1]), dim=-1)


def lift_dot(
    x: Float[Tensor, "*#batch n d"], y: Float[Tensor, "*#batch m d"]
) -> tuple[Float[Tensor, "*#batch n d"], Float[Tensor, "*#batch m d"]]:
    """Give vectors whose inner products are −⟨x_i, y_j⟩."""
    return -x, y


def _ones(x: Tensor) -> Tensor:
    return x.new_ones((*x.shape[:-1], 1))


LIFTS: Mapping[str, Lift] = MappingProxyType({"cosine": lift_cosine, "sqeuclidean": lift_sqeuclidean, "dot": lift_dot})
"""The prices that are inner products."""

LEAST: Mapping[str, float] = MappingProxyType({"sqeuclidean": 0.0})
"""What prices cannot be below but for rounding."""


def cloud_of(cost: str, left: Tensor, right: Tensor) -> Cloud:
    """Give the points whose lifted vectors these are, centred or of length 1 as the price asks, without a graph."""
    extra = {"cosine": 1, "sqeuclidean": 2, "dot": 0}[cost]
    d = left.shape[-1] - extra
    x, y = left[..., :d].detach(), right[..., :d].detach()
    squared = cost == "sqeuclidean"
    return Cloud(x / -2 if squared else -x, y, squared, 1.0 if cost == "cosine" else 0.0)


def cosine(x: Float[Tensor, "*#batch n d"], y: Float[Tensor, "*#batch m d"]) -> Float[Tensor, "*#batch n m"]:
    """1 − cos(x_i, y_j), in [0, 2]; a zero vector is at right angles to everything."""
    return _inner_products("cosine", x, y)


def sqeuclidean(x: Float[Tensor, "*#batch n d"], y: Float[Tensor, "*#batch m d"]) -> Float[Tensor, "*#batch n m"]:
    """|x_i − y_j|², at least 0."""
    return _inner_products("sqeuclidean", x, y)


def euclidean(x: Float[Tensor, "*#batch n d"], y: Float[Tensor, "*#batch m d"]) -> Float[Tensor, "*#batch n m"]:
    """|x_i − y_j|; its derivative where two points coincide is 0, a subgradient."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def dot(x: Float[Tensor, "*#batch n d"], y: Float[Tensor, "*#batch m d"]) -> Float[Tensor, "*#batch n m"]:
    """−⟨x_i, y_j⟩: the more alike, the cheaper; negative prices are as good as any."""
    return _inner_products("dot", x, y)


def _inner_products(name: str, x: Tensor, y: Tensor) -> Tensor:
    left, right = LIFTS[name](x, y)
    prices = left @ right.mT
    return prices.clamp(min=LEAST[name]) if name in LEAST else prices


COSTS: Mapping[str, CostFunction] = MappingProxyType(
    {"cosine": cosine, "sqeuclidean": sqeuclidean, "euclidean": euclidean, "dot": dot}
)
"""The prices known by name."""


def check_cost(cost: object) -> None:
    """Require the name of a cost, or a function.

    Raises:
        ValueError: No cost has that name.
        TypeError: It is neither a name nor a function.
    """
    if callable(cost) or (isinstance(cost, str) and cost in COSTS):
        return
    raise (ValueError if isinstance(cost, str) else TypeError)(
        f"`cost` must name a known cost or be a function. Found {cost!r}. "
        f"Pass one of {', '.join(COSTS)}, or a function of two feature tensors."
    )


def check_prices(prices: object, x: Tensor, y: Tensor) -> None:
    """Require that a user's cost function gave the price of every pair, in the features' type.

    Raises:
        TypeError: It gave something else than a tensor, or another type.
        ValueError: It gave another shape.
    """
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    expected = (*batch, x.shape[-2], y.shape[-2])
    if not isinstance(prices, Tensor) or prices.dtype != x.dtype:
        found = prices.dtype if isinstance(prices, Tensor) else type(prices).__name__
        raise TypeError(
            f"The function passed as `cost` must give a tensor of the features' type, {x.dtype}. Found {found}. "
            "Convert inside of the function."
        )
    if prices.shape != expected:
        raise ValueError(
            f"The function passed as `cost` must give prices of shape (*batch, r, m), here {expected}. "
            f"Found {tuple(prices.shape)}. Price every pair of a row of its first argument and one of its second."
        )
