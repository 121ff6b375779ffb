"""Costs stored as a matrix."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.arrays import FloatArray, as_tensor
from partialot.errors import checks_its_inputs
from partialot.geometry.base import Geometry


@dataclass(frozen=True, eq=False, init=False)
class DenseCost(Geometry):
    """A matrix of prices, one for each pair.

    Attributes:
        cost: (*batch, n, m), price of moving one unit of mass from source i to target j; any sign, `inf` = forbidden.
    """

    cost: Tensor

    @checks_its_inputs
    def __init__(self, cost: Tensor | FloatArray) -> None:
        """Take a tensor, or a NumPy array as a tensor that shares its memory where that can be.

        Raises:
            TypeError: The cost is neither, or not one of floating-point numbers.
            ValueError: It has fewer than two dimensions.
        """
        object.__setattr__(self, "cost", as_tensor("cost", cost))
        if self.cost.ndim < 2:
            raise ValueError(
                f"`cost` must have the shape (*batch, n, m). Found {tuple(self.cost.shape)}. "
                "Pass one price for each pair of a source and a target node."
            )

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

    @property
    def is_lazy(self) -> bool:
        """Never: the prices are stored."""
        return False

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The matrix itself."""
        return (self.cost,)

    def replace(self, *tensors: Tensor) -> "DenseCost":
        """Give other prices."""
        (cost,) = tensors
        return DenseCost(cost)

    def block(self, rows: slice, room: Tensor | None = None) -> Float[Tensor, "*batch rows m"]:
        """Give the prices of some sources, which need no room."""
        return self.cost[..., rows, :]

    def part(self, rows: slice) -> "DenseCost":
        """Give the prices of some sources; see `Geometry.part`."""
        return DenseCost(self.cost[..., rows, :])
