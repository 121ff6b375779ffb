"""What a solver may ask of the costs, however they are stored."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor


class Geometry(ABC):
    """The price of every pair of nodes, for a batch of problems."""

    @property
    @abstractmethod
    def batch_shape(self) -> torch.Size:
        """The leading dimensions."""

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """The number of source and of target nodes, (n, m)."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """The type of the prices."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the prices live."""

    @abstractmethod
    def matrix(self) -> Float[Tensor, "*batch n m"]:
        """Give every price; `inf` marks a pair that is forbidden."""
