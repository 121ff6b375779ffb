"""Prototype: the mean feature of the supports' object."""

from jaxtyping import Float
from torch import Tensor

_EPSILON = 5e-4


def pool_prototype(
    supports: Float[Tensor, "batch shot channels h w"], foreground: Float[Tensor, "batch shot h w"]
) -> Float[Tensor, "batch channels"]:
    """Average the nodes of each support weighted by the object's share in them, then the supports.

    The small constant in the denominator (PFENet) makes an empty mask give the zero prototype.
    """
    weights = foreground.unsqueeze(2)
    pooled = (supports * weights).sum((-2, -1)) / (weights.sum((-2, -1)) + _EPSILON)
    return pooled.mean(1)
