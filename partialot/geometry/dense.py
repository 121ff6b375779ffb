"""Costs stored as a matrix."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.geometry.base import Geometry


@dataclass(frozen=True, eq=False)
class DenseCost(Geometry):
    """A matrix of prices, one for each pair.

    Attributes:
        cost: Price of moving one unit of mass from source i to target j; any sign, `inf` = forbidden.
    """

    cost: Float[Tensor, "*batch n m"]

    @property
    def batch_shape(self) -> torch.Size:
        """The leading dimensions."""
        return self.cost.shape[:-2]

    @property
    def size(self) -> tuple[int, int]:
        """The number of source and of target nodes, (n, m)."""
        return self.cost.shape[-2], self.cost.shape[-1]

    @property
    def dtype(self) -> torch.dtype:
        """The type of the prices."""
        return self.cost.dtype

    @property
    def device(self) -> torch.device:
        """Where the prices live."""
        return self.cost.device

    def matrix(self) -> Float[Tensor, "*batch n m"]:
        """Give every price."""
        return self.cost
