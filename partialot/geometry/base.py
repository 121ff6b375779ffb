"""What a solver may ask of the costs, however they are stored."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.communicator import ALONE, Communicator
from partialot.kernels.primitives import Cloud


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
    def ranks(self) -> Communicator:
        """Who else holds rows of this problem: nobody, but for `ShardedRows`."""
        return ALONE

    @property
    def sources(self) -> int:
        """The number of source nodes of the whole problem, over all ranks."""
        return self.size[0]

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """The type the user works in: that of the weights beside the prices, and of the answer."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the prices live."""

    @property
    @abstractmethod
    def is_lazy(self) -> bool:
        """Whether prices are evaluated where they are needed instead of stored."""

    @property
    @abstractmethod
    def tensors(self) -> tuple[Tensor, ...]:
        """What the prices are a function of, and may be differentiated by."""

    @abstractmethod
    def replace(self, *tensors: Tensor) -> "Geometry":
        """Give the same function of other tensors of the same shapes."""

    def detach(self) -> "Geometry":
        """Give the same prices without a graph; numbers are shared, not copied."""
        return self.replace(*(tensor.detach() for tensor in self.tensors))

    @abstractmethod
    def block(self, rows: slice, room: Tensor | None = None) -> Float[Tensor, "*batch rows m"]:
        """Give the prices of some sources, differentiably; `inf` marks a pair that is forbidden.

        Args:
            rows: Which sources.
            room: Numbers of the prices' type that they may be written over where no graph is recorded and there are
                enough: fresh memory costs more than short sums of products. The next block that gets it overwrites
                this one.
        """

    @abstractmethod
    def part(self, rows: slice) -> "Geometry":
        """Give the same prices of some sources only, their tensors views of these or the same.

        Args:
            rows: Which sources.
        """

    def matrix(self) -> Float[Tensor, "*batch n m"]:
        """Give every price."""
        return self.block(slice(None))

    def cloud(self) -> Cloud | None:
        """Give the points that lazy prices are simple functions of, in the user's batch shape and without a graph.

        Kernels can then evaluate prices on the way; where there are none, they are evaluated by blocks.
        """
        return None

    def prepare(self) -> "Geometry":
        """Give the same prices in the form in which one solve asks for them many times."""
        return self
