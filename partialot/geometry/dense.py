"""Costs stored as a matrix."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.geometry.base import Geometry

HALF = (torch.float16, torch.bfloat16)
_SUPPORTED = (*HALF, torch.float32, torch.float64)


def check_tensor(name: str, value: object) -> Tensor:
    """Require a tensor, and give it back as one."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"`{name}` must be a torch.Tensor. Found {type(value).__name__}. Convert it first, with torch.as_tensor."
        )
    return value


def check_type(name: str, dtype: torch.dtype) -> None:
    """Require real floating-point numbers."""
    if dtype not in _SUPPORTED:
        raise TypeError(
            f"`{name}` must be real and floating-point (float16, bfloat16, float32 or float64). Found {dtype}. "
            f"Convert it first, e.g. `{name}.to(torch.float32)`."
        )


@dataclass(frozen=True, eq=False)
class DenseCost(Geometry):
    """A matrix of prices, one for each pair.

    Attributes:
        cost: (*batch, n, m), price of moving one unit of mass from source i to target j; any sign, `inf` = forbidden.
    """

    cost: Tensor

    def __post_init__(self) -> None:
        """Refuse what is no matrix of prices.

        Raises:
            TypeError: The cost is no tensor, or not one of floating-point numbers.
            ValueError: It has fewer than two dimensions.
        """
        check_tensor("cost", self.cost)
        check_type("cost", self.cost.dtype)
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

    def matrix(self) -> Float[Tensor, "*batch n m"]:
        """Give every price."""
        return self.cost
