"""One problem whose sources are spread over processes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, distributed

from partialot.communicator import Communicator, GroupCommunicator
from partialot.errors import checks_its_inputs
from partialot.geometry.base import Geometry
from partialot.geometry.pointcloud import PointCloud


@dataclass(frozen=True, eq=False, init=False)
class ShardedRows(Geometry):
    """The rows that this rank of a `torch.distributed` group holds of a problem larger than one device.

    Every rank makes one and passes it to `solve` with the weights `a` of its own sources; ranks may hold unlike numbers
    of rows. All else (targets, `b`, `mass`, `reg`, settings) is the same on every rank, which is checked. Every rank
    gets the solution of the one large problem: its own rows of the plan and of what belongs to sources, and the whole
    of what does not (`docs/sharding.md`). What is summed over sources is summed over ranks, so constructing it,
    `solve`, properties of the solution that are sums over sources, and backward passes are collective: every rank does
    them, in the same order.

    Attributes:
        geometry: Prices of this rank's rows, a `DenseCost` or a `PointCloud` of its x and all of y.
        group: The process group; None = all ranks.
    """

    geometry: Geometry
    group: distributed.ProcessGroup | None
    _sources: int
    _ranks: Communicator

    @checks_its_inputs
    def __init__(self, geometry: Geometry, group: distributed.ProcessGroup | None = None) -> None:
        """Meet the other ranks.

        Raises:
            RuntimeError: There is no process group, or this process is not in it.
            TypeError: `geometry` is none, or sharded already; raised on all ranks, whichever it happened on.
            ValueError: Ranks differ in the targets, in the type of the prices or in what is to be differentiated by.
        """
        ranks = GroupCommunicator(group, _device(geometry, group))
        with ranks.together():
            _check_kind(geometry)
        batch, (n, m) = geometry.batch_shape, geometry.size
        flags = [tensor.requires_grad for tensor in geometry.tensors]
        shared: dict[str, object] = {
            "geometry": (type(geometry).__name__, f"batch {tuple(batch)}", f"{m} targets", geometry.dtype),
            "requires_grad": flags,
        }
        if isinstance(geometry, PointCloud):
            shared |= {"y": geometry.y, "cost": geometry.cost if isinstance(geometry.cost, str) else "a function"}
        ranks.require_same(shared)
        self._set(geometry, group, int(ranks.sum(torch.tensor(n, device=geometry.device))), ranks)

    def _set(
        self, geometry: Geometry, group: distributed.ProcessGroup | None, sources: int, ranks: Communicator
    ) -> "ShardedRows":
        for name, value in (("geometry", geometry), ("group", group), ("_sources", sources), ("_ranks", ranks)):
            object.__setattr__(self, name, value)
        return self

    @property
    def ranks(self) -> Communicator:
        """The ranks of the group."""
        return self._ranks

    @property
    def sources(self) -> int:
        """How many sources all ranks hold together."""
        return self._sources

    @property
    def batch_shape(self) -> torch.Size:
        """The leading dimensions."""
        return self.geometry.batch_shape

    @property
    def size(self) -> tuple[int, int]:
        """The number of sources held here and of targets, (n, m)."""
        return self.geometry.size

    @property
    def dtype(self) -> torch.dtype:
        """The type the user works in."""
        return self.geometry.dtype

    @property
    def device(self) -> torch.device:
        """Where this rank's prices live."""
        return self.geometry.device

    @property
    def is_lazy(self) -> bool:
        """Whether this rank evaluates its prices where they are needed; ranks may differ in it."""
        return self.geometry.is_lazy

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What this rank's prices are a function of."""
        return self.geometry.tensors

    def replace(self, *tensors: Tensor) -> "ShardedRows":
        """Give the same function of other tensors; nothing is sent."""
        return self._with(self.geometry.replace(*tensors))

    def block(self, rows: slice, room: Tensor | None = None) -> Float[Tensor, "*batch rows m"]:
        """Give the prices of some of this rank's sources; see `Geometry.block`."""
        return self.geometry.block(rows, room)

    def part(self, rows: slice) -> "ShardedRows":
        """Give some of this rank's sources; nothing is sent. See `Geometry.part`."""
        return self._with(self.geometry.part(rows))

    def prepare(self) -> "ShardedRows":
        """Prepare this rank's prices; see `Geometry.prepare`."""
        return self._with(self.geometry.prepare())

    def _with(self, geometry: Geometry) -> "ShardedRows":
        return object.__new__(ShardedRows)._set(geometry, self.group, self._sources, self._ranks)


def _check_kind(geometry: object) -> None:
    if not isinstance(geometry, Geometry) or isinstance(geometry, ShardedRows):
        raise TypeError(
            "`geometry` must be this rank's rows as a DenseCost or a PointCloud. "
            f"Found {type(geometry).__name__}. Wrap the costs first, e.g. `DenseCost(cost)`."
        )


def _device(geometry: object, group: distributed.ProcessGroup | None) -> torch.device:
    """Give the device whose tensors the group sends.

    Raises:
        RuntimeError: There is no group, or this process is not in it.
    """
    met = distributed.is_available() and distributed.is_initialized()
    if not met or distributed.get_rank(group) < 0:
        found = "a process outside of `group`" if met else "no group"
        raise RuntimeError(
            f"`ShardedRows` must be made in the processes of an initialised group. Found {found}. "
            "Call `torch.distributed.init_process_group` first, under `torchrun`."
        )
    return geometry.device if isinstance(geometry, Geometry) else torch.device("cpu")
