"""Kernels between clouds of points whose prices are evaluated on the way: no entry is ever in memory.

Prices of such clouds are inner products of the vectors that stand for the points, ⟨left_i, right_j⟩. So what sums of
prices are, and what their derivatives are, are products with the kernel once more: weighted by ⟨p_i, q_j⟩, entries have
Σ_j entry_ij ⟨p_i, q_j⟩ right_j = Σ_r p_ir Σ_j entry_ij q_jr right_j for the derivative by left_i.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.kernels import dispatch
from partialot.kernels.points import CloudEntries, Points
from partialot.kernels.primitives import Source, flat
from partialot.problem import Problem

_TOGETHER = 64
"""Columns that kernels are multiplied with at a time: as many as they take without evaluating the entries again."""


def points_of(problem: Problem) -> Points | None:
    """Prepare the clouds of lazy prices; None where prices are evaluated by blocks."""
    served = dispatch.evaluates_on_the_way(problem.geometry.tensors[0])
    cloud = problem.geometry.cloud() if served else None
    return None if cloud is None else Points.of(cloud.flat(problem.batch_shape))


@dataclass(frozen=True, eq=False)
class CloudKernel:
    """exp(rows_i + columns_j − unit · (price_ij − shift)), evaluated at every product with it, without a graph.

    Attributes:
        entries: What is evaluated, of a flat batch.
        left: Vectors of the rows, whose inner products with those of the columns are the prices.
        right: Vectors of the columns.
        batch: The shape that is flattened.
    """

    entries: CloudEntries
    left: Float[Tensor, "*#batch n d"]
    right: Float[Tensor, "*#batch m d"]
    batch: torch.Size

    @classmethod
    def of(
        cls,
        problem: Problem,
        rows: Float[Tensor, "flat n"],
        columns: Float[Tensor, "flat m"],
        unit: Float[Tensor, " flat"],
        shift: Float[Tensor, " flat"],
    ) -> "CloudKernel | None":
        """Give the kernel at some potentials; None where prices are evaluated by blocks, or stored."""
        points = points_of(problem) if problem.geometry.is_lazy else None
        if points is None:
            return None
        source = torch.full(unit.shape, int(Source.COST), dtype=torch.int8, device=unit.device)
        left, right = (side.detach() for side in problem.geometry.tensors)
        return cls(
            CloudEntries(points, unit.contiguous(), shift.contiguous(), source, rows, columns),
            left,
            right,
            problem.batch_shape,
        )

    @property
    def transposed(self) -> "CloudKernel":
        """The same with rows for columns."""
        return replace(self, entries=self.entries.transposed, left=self.right, right=self.left)

    @property
    def squared(self) -> "CloudKernel":
        """The squares of the entries."""
        return replace(self, entries=self.entries.squared)

    def times(self, values: Float[Tensor, "#flat m k"]) -> Float[Tensor, "flat n k"]:
        """Multiply the kernel with some vectors; see `reference.cloud_product`."""
        return dispatch.cloud_product(self.entries, values)

    def paid(self, p: Float[Tensor, "flat n r"], q: Float[Tensor, "flat m r"]) -> Float[Tensor, " flat"]:
        """Give Σ_ij entry_ij ⟨p_i, q_j⟩ price_ij."""
        return (flat(self.left, self.batch) * self._towards_right(p, q)).sum((-2, -1))

    def pull_back(
        self, p: Float[Tensor, "flat n r"], q: Float[Tensor, "flat m r"]
    ) -> tuple[Float[Tensor, " flat"], Float[Tensor, "*#batch n d"], Float[Tensor, "*#batch m d"]]:
        """Give `paid`, and its derivatives by the vectors of either side with the entries held."""
        of_left, of_right = self._towards_right(p, q), self.transposed._towards_right(q, p)
        paid = (flat(self.left, self.batch) * of_left).sum((-2, -1))
        return paid, self._reduced(of_left, self.left), self._reduced(of_right, self.right)

    def _towards_right(self, p: Tensor, q: Tensor) -> Float[Tensor, "flat n d"]:
        """Give Σ_j entry_ij ⟨p_i, q_j⟩ right_j."""
        right = flat(self.right, self.batch)
        d, found = right.shape[-1], p.new_zeros((*p.shape[:2], right.shape[-1]), dtype=torch.float64)
        step = max(1, _TOGETHER // max(1, d))
        for start in range(0, p.shape[-1], step):
            here, there = p[..., start : start + step].double(), q[..., start : start + step].double()
            values = torch.einsum("bjr,bjd->bjrd", there, right.double()).flatten(-2)
            found += torch.einsum("bir,bird->bid", here, self.times(values).unflatten(-1, (here.shape[-1], d)))
        return found

    def _reduced(self, found: Tensor, side: Tensor) -> Tensor:
        """Sum over the problems that share vectors."""
        return found.reshape(*self.batch, *found.shape[-2:]).sum_to_size(side.shape)
