"""Costs between two clouds of features, stored only where that pays."""

import math
import os
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from partialot.arrays import HALF, FloatArray, as_tensor
from partialot.errors import checks_its_inputs
from partialot.geometry.base import Geometry
from partialot.geometry.costs import COSTS, LEAST, LIFTS, CostFunction, check_cost
from partialot.geometry.dense import DenseCost

Storage = Literal["auto", "matrix", "blocks"]

_STORED = 1 << 30
"""Largest matrix, in bytes, that `storage="auto"` stores: 16,384² prices of float32."""

_SHARE = 8
"""It is also at most one part in so many of the device's memory: a solve and its backward pass hold several such
matrices. Both bounds are chosen, not measured."""


@dataclass(frozen=True, eq=False, init=False)
class PointCloud(Geometry):
    """Prices between the points of two clouds, a function of their features.

    A matrix of the prices is written out for a solve where it is small, which spares evaluating them at every sweep
    (`benchmarks/bench_lazy.py --storage` times either). Else prices are evaluated by blocks of rows
    wherever they are needed, and solve, derivatives and products with the plan take memory O((n + m) d) and one block.
    The answer is the same but for rounding; without a matrix, the value can be differentiated once, not twice.

    Attributes:
        x: (*batch, n, d), features of the sources; prices of half precision features are computed in float32. Features
            must not be changed in place while a solution of theirs is in use.
        y: (*batch, m, d), features of the targets.
        cost: "sqeuclidean", "euclidean", "cosine" (1 − cos), "dot" (−⟨x, y⟩), or a function from (*batch, r, d) and
            (*batch, m, d) to prices (*batch, r, m) that prices each row by itself; it is called for blocks of rows,
            several times a solve.
        storage: "matrix" to write the matrix out, "blocks" never to, "auto" to write one of at most 1 GiB and an
            eighth of the device's memory.

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
    _lifted: tuple[Tensor, Tensor, float | None] | None = field(repr=False)

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
        _check_storage(storage)
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
        return self.batch_shape.numel() * n * m * itemsize > min(_STORED, _memory(self.device) // _SHARE)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The features, (x, y)."""
        return self.x, self.y

    def replace(self, *tensors: Tensor) -> "PointCloud":
        """Give clouds of other features."""
        x, y = tensors
        return PointCloud(x, y, self.cost, storage=self.storage)

    def part(self, rows: slice) -> "PointCloud":
        """Give the cloud of some sources; see `Geometry.part`."""
        return PointCloud(self.x[..., rows, :], self.y, self.cost, storage=self.storage)

    def block(self, rows: slice, room: Tensor | None = None) -> Float[Tensor, "*batch rows m"]:
        """Give the prices of some sources; see `Geometry.block`.

        Raises:
            ValueError: The user's cost function gave another shape.
            TypeError: It gave another type.
        """
        # Autocast would compute the products in half precision.
        with torch.autocast(self.device.type, enabled=False):
            records = torch.is_grad_enabled() and (self.x.requires_grad or self.y.requires_grad)
            if self._lifted is not None and not records:
                return self._product(rows, room)
            x, y = _at_least_single(self.x[..., rows, :]), _at_least_single(self.y)
            if isinstance(self.cost, str):
                return COSTS[self.cost](x, y)
            prices = self.cost(x, y)
            _check_prices(prices, x, y)
            return prices

    def prepare(self) -> Geometry:
        """Give the matrix where it is to be stored; else the clouds, with what blocks share computed once."""
        if not self.is_lazy:
            return DenseCost(self.matrix())
        if callable(self.cost) and torch.is_grad_enabled():
            self._check_closure()
        ready = PointCloud(self.x, self.y, self.cost, storage="blocks")
        if isinstance(self.cost, str) and self.cost in LIFTS:
            with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
                left, right = LIFTS[self.cost](_at_least_single(self.x), _at_least_single(self.y))
            object.__setattr__(ready, "_lifted", (left, right, LEAST.get(self.cost)))
        return ready

    def _check_closure(self) -> None:
        """Refuse functions whose derivatives by what is no argument would be lost, block by block."""
        with torch.enable_grad():
            first = PointCloud(self.x.detach(), self.y.detach(), self.cost).block(slice(0, 1))
        if first.requires_grad:
            raise ValueError(
                "The function passed as `cost` must depend on nothing to be differentiated but its arguments where its "
                "prices are not stored. Found prices that require a gradient beside features that do not. "
                "Pass `storage='matrix'`, or solve under `torch.no_grad()`."
            )

    def _product(self, rows: slice, room: Tensor | None) -> Tensor:
        """Give prices that are inner products, with one pass over them and at most one more."""
        assert self._lifted is not None
        left, right, least = self._lifted
        with torch.no_grad():
            left = left[..., rows, :]
            shape = (*self.batch_shape, left.shape[-2], right.shape[-2])
            count = math.prod(shape)
            out = None if room is None or room.numel() < count else room[:count].view(shape)
            prices = torch.matmul(left, right.mT, out=out)
            return prices if least is None else prices.clamp_(min=least)


def _at_least_single(features: Tensor) -> Tensor:
    return features.float() if features.dtype in HALF else features


def _memory(device: torch.device) -> int:
    """Give the bytes that the device has, free or not: a plan must not depend on what else runs."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return _STORED * _SHARE


def _check_storage(storage: object) -> None:
    if storage not in get_args(Storage):
        raise ValueError(
            f"`storage` must be 'auto', 'matrix' or 'blocks'. Found {storage!r}. "
            "Pass 'blocks' to store no matrix whatever the size."
        )


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


def _check_prices(prices: object, x: Tensor, y: Tensor) -> None:
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
