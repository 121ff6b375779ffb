"""Costs between two clouds of features, stored only where that pays."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from partialot.arrays import HALF, FloatArray, as_tensor
from partialot.errors import checks_its_inputs
from partialot.geometry.base import Geometry
from partialot.geometry.costs import COSTS, LEAST, LIFTS, CostFunction, check_cost, check_prices, cloud_of
from partialot.geometry.dense import DenseCost
from partialot.geometry.storage import Storage, check_storage, pays_to_store
from partialot.kernels.primitives import Cloud


@dataclass(frozen=True, eq=False, init=False)
class PointCloud(Geometry):
    """Prices between the points of two clouds, a function of their features.

    A matrix of the prices is written out for a solve where it is small, which spares evaluating them at every sweep
    (`benchmarks/bench_storage.py` times either). Else prices are evaluated by blocks of rows
    wherever they are needed, and solve, derivatives and products with the plan take memory O((n + m) d) and one block.
    The answer is the same but for rounding; without a matrix, the value can be differentiated once, not twice.

    Attributes:
        x: (*batch, n, d), features of the sources; prices of half precision features are computed in float32. Features
            must not be changed in place while a solution of theirs is in use.
        y: (*batch, m, d), features of the targets.
        cost: "sqeuclidean", "euclidean", "cosine" (1 − cos), "dot" (−⟨x, y⟩), or a function from (*batch, r, d) and
            (*batch, m, d) to prices (*batch, r, m). Without a matrix it is called for blocks of rows, several times a
            solve; it must then price each row by itself, and have derivatives by its arguments alone.
        storage: "matrix" to write the matrix out, "blocks" never to, "auto" to write one of at most 1 GiB and a
            sixteenth of the device's memory, or any for a function that is seen not to suit blocks.

    Example:
        >>> import torch, partialot
        >>> cloud = partialot.PointCloud(torch.rand(5, 3), torch.rand(4, 3), "cosine")
        >>> partialot.solve(cloud, mass=0.5, reg=0.1).plan.shape
        torch.Size([5, 4])
    """

    x: Tensor
    y: Tensor
    cost: str | CostFunction
    storage: Storage
    _lifted: tuple[Tensor, Tensor] | None = field(repr=False)

    @checks_its_inputs
    def __init__(
        self,
        x: Tensor | FloatArray,
        y: Tensor | FloatArray,
        cost: str | CostFunction = "sqeuclidean",
        *,
        storage: Storage = "auto",
    ) -> None:
        """Take tensors, or NumPy arrays as tensors that share their memory where that can be.

        Raises:
            TypeError: Features are neither, or not floating-point, or of two types or devices; the cost is neither a
                name nor a function.
            ValueError: Shapes do not fit, or no cost or storage has that name.
        """
        check_cost(cost)
        check_storage(storage)
        object.__setattr__(self, "x", as_tensor("x", x))
        object.__setattr__(self, "y", as_tensor("y", y))
        object.__setattr__(self, "cost", cost)
        object.__setattr__(self, "storage", storage)
        object.__setattr__(self, "_lifted", None)
        _check_shapes(self.x, self.y)
        _check_alike(self.x, self.y)

    @property
    def batch_shape(self) -> torch.Size:
        """The leading dimensions, those of x and y broadcast."""
        return torch.Size(np.broadcast_shapes(self.x.shape[:-2], self.y.shape[:-2]))

    @property
    def size(self) -> tuple[int, int]:
        """The number of source and of target nodes, (n, m)."""
        return self.x.shape[-2], self.y.shape[-2]

    @property
    def dtype(self) -> torch.dtype:
        """The type of the features."""
        return self.x.dtype

    @property
    def device(self) -> torch.device:
        """Where the features live."""
        return self.x.device

    @property
    def is_lazy(self) -> bool:
        """Whether prices are evaluated where they are needed: as `storage` says, or the size where it leaves that."""
        if self.storage != "auto":
            return self.storage == "blocks"
        n, m = self.size
        itemsize = 4 if self.dtype in HALF else self.dtype.itemsize
        return not pays_to_store(self.batch_shape.numel() * n * m, itemsize, self.device)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The features, (x, y); once prepared, vectors made of them whose inner products are the prices."""
        return self._lifted or (self.x, self.y)

    def replace(self, *tensors: Tensor) -> "PointCloud":
        """Give clouds of other features."""
        one, other = tensors
        if self._lifted is None:
            return PointCloud(one, other, self.cost, storage=self.storage)
        return self._with(self.x, (one, other))

    def detach(self) -> "PointCloud":
        """Give the same clouds without a graph; see `Geometry.detach`."""
        cloud = PointCloud(self.x.detach(), self.y.detach(), self.cost, storage=self.storage)
        return cloud._with(
            cloud.x, None if self._lifted is None else (self._lifted[0].detach(), self._lifted[1].detach())
        )

    def part(self, rows: slice) -> "PointCloud":
        """Give the cloud of some sources; see `Geometry.part`."""
        x = self.x[..., rows, :]
        return self._with(x, None if self._lifted is None else (self._lifted[0][..., rows, :], self._lifted[1]))

    def block(self, rows: slice, room: Tensor | None = None) -> Float[Tensor, "*batch rows m"]:
        """Give the prices of some sources; see `Geometry.block`.

        Raises:
            ValueError: The user's cost function gave another shape.
            TypeError: It gave another type.
        """
        # Autocast would compute the products in half precision.
        with torch.autocast(self.device.type, enabled=False):
            if self._lifted is not None:
                return self._product(self._lifted[0][..., rows, :], self._lifted[1], room)
            x, y = _at_least_single(self.x[..., rows, :]), _at_least_single(self.y)
            if isinstance(self.cost, str):
                return COSTS[self.cost](x, y)
            prices = self.cost(x, y)
            check_prices(prices, x, y)
            return prices

    def prepare(self) -> Geometry:
        """Give the matrix where it is to be stored; else the clouds, with what blocks share computed once."""
        if not self.is_lazy:
            return DenseCost(self.matrix())
        if callable(self.cost) and (unfit := self._unfit_for_blocks()) is not None:
            if self.storage == "auto":
                return DenseCost(self.matrix())
            raise ValueError(unfit)
        ready = PointCloud(self.x, self.y, self.cost, storage="blocks")
        if not (isinstance(self.cost, str) and self.cost in LIFTS):
            return ready
        with torch.autocast(self.device.type, enabled=False):
            # Differentiated by blocks, the vectors pass their derivatives on to the features once.
            return ready._with(self.x, LIFTS[self.cost](_at_least_single(self.x), _at_least_single(self.y)))

    def cloud(self) -> Cloud | None:
        """Give the points of a cloud that is prepared and lazy; see `Geometry.cloud`."""
        if self._lifted is None or not isinstance(self.cost, str):
            return None
        return cloud_of(self.cost, *self._lifted)

    def _with(self, x: Tensor, lifted: tuple[Tensor, Tensor] | None) -> "PointCloud":
        """Give the cloud of other sources."""
        cloud = PointCloud(x, self.y, self.cost, storage=self.storage)
        object.__setattr__(cloud, "_lifted", lifted)
        return cloud

    def _unfit_for_blocks(self) -> str | None:
        """Say why a user's function must see all at once, where it must."""
        free = PointCloud(self.x.detach(), self.y.detach(), self.cost)
        # Derivatives by what is no argument would be lost, block by block.
        if torch.is_grad_enabled() and free.block(slice(0, 1)).requires_grad:
            return (
                "The function passed as `cost` must depend on nothing to be differentiated but its arguments where its "
                "prices are not stored. Found prices that require a gradient beside features that do not. "
                "Pass `storage='matrix'`, or solve under `torch.no_grad()`."
            )
        with torch.no_grad():
            together = free.block(slice(0, 2))
            alone = torch.cat((free.block(slice(0, 1)), free.block(slice(1, 2))), dim=-2)
        size = float(together[together.isfinite()].abs().amax()) if bool(together.isfinite().any()) else 0.0
        if not torch.allclose(together, alone, rtol=0.0, atol=1e-3 * size, equal_nan=True):
            return (
                "The function passed as `cost` must price each row by itself where its prices are not stored. "
                "Found prices of a source that change with the sources beside it. Pass `storage='matrix'`."
            )
        return None

    def _product(self, left: Tensor, right: Tensor, room: Tensor | None) -> Tensor:
        """Give prices that are inner products, without a graph with one pass over them and at most one more."""
        least = LEAST.get(self.cost) if isinstance(self.cost, str) else None
        if torch.is_grad_enabled() and (left.requires_grad or right.requires_grad):
            prices = left @ right.mT
            return prices if least is None else prices.clamp(min=least)
        shape = (*self.batch_shape, left.shape[-2], right.shape[-2])
        count = math.prod(shape)
        out = None if room is None or room.numel() < count else room[:count].view(shape)
        with torch.no_grad():
            prices = torch.matmul(left, right.mT, out=out)
            return prices if least is None else prices.clamp_(min=least)


def _at_least_single(features: Tensor) -> Tensor:
    return features.float() if features.dtype in HALF else features


def _check_shapes(x: Tensor, y: Tensor) -> None:
    for name, features in (("x", x), ("y", y)):
        if features.ndim < 2:
            raise ValueError(
                f"`{name}` must have the shape (*batch, points, d). Found {tuple(features.shape)}. "
                "Pass one row of features for each point; points on a line have d = 1."
            )
    if x.shape[-1] != y.shape[-1]:
        raise ValueError(
            "`x` and `y` must have features of one dimension d, their last. "
            f"Found {x.shape[-1]} beside {y.shape[-1]}. Embed both in the same space first."
        )
    try:
        np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    except ValueError:
        raise ValueError(
            "The batch dimensions of `x` and `y` must broadcast. "
            f"Found {tuple(x.shape[:-2])} beside {tuple(y.shape[:-2])}. "
            "Add dimensions of size 1 where a cloud is shared by several problems."
        ) from None


def _check_alike(x: Tensor, y: Tensor) -> None:
    for what, one, other, to in (
        ("dtype", x.dtype, y.dtype, y.dtype),
        ("device", x.device, y.device, repr(str(y.device))),
    ):
        if one != other:
            raise TypeError(
                f"`x` and `y` must have one {what}. Found {one} beside {other}. Convert one, e.g. `x.to({to})`."
            )
