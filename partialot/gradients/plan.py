"""What a derivative by the plan is, with the potentials held: plan_ij = total · a_i b_j · exp(f_i + g_j + …)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.augmentation import BorderedProblem
from partialot.kernels.blocks import at_a_time
from partialot.potentials import RealPotentials


@dataclass(frozen=True, eq=False)
class Direct:
    """Derivatives that reach the inputs through the plan's formula, not through the optimum.

    Attributes:
        plan: P.
        upstream: Derivatives by P.
        rows: Σ_j P_ij · upstream_ij, the derivative by f; float64.
        columns: The same over sources, by g.
        of_a: By the bordered weights of the sources.
        of_b: Of the targets.
    """

    plan: Float[Tensor, "batch n m"]
    upstream: Float[Tensor, "batch n m"]
    rows: Float[Tensor, "batch n"]
    columns: Float[Tensor, "batch m"]
    of_a: Float[Tensor, "batch sources"]
    of_b: Float[Tensor, "batch targets"]

    @classmethod
    def of(cls, bordered: BorderedProblem, potentials: RealPotentials, plan: Tensor, upstream: Tensor) -> "Direct":
        """Take the sums in one read of plan and upstream."""
        rows, columns = torch.zeros_like(potentials.f), torch.zeros_like(potentials.g)
        for part in row_parts(plan):
            flowing = plan[:, part] * upstream[:, part]
            rows[:, part] = flowing.sum(-1)
            columns += flowing.sum(-2)
        of_a, of_b = _per_weight(rows, bordered.a.detach()), _per_weight(columns, bordered.b.detach())
        empty = bordered.a.detach() <= 0, bordered.b.detach() <= 0
        if (bordered.a.requires_grad or bordered.b.requires_grad) and any(bool(side[:, :-1].any()) for side in empty):
            sides = _one_sided(bordered, potentials, upstream)
            of_a, of_b = (torch.where(*pair) for pair in zip(empty, sides, (of_a, of_b), strict=True))
        return cls(plan, upstream, rows, columns, of_a, of_b)


def row_parts(block: Float[Tensor, "batch n m"]) -> Iterator[slice]:
    """Cut rows so that temporaries stay in a cache."""
    step = max(1, at_a_time(block.device, 1 << 19) // max(1, block.shape[0] * block.shape[2]))
    return (slice(start, start + step) for start in range(0, block.shape[1], step))


def _per_weight(sums: Tensor, weights: Tensor) -> Tensor:
    """Divide by the weights, 0 at those of 0; the border's entry is 0."""
    real = weights[:, :-1]
    quotient = torch.where(real > 0, sums / torch.where(real > 0, real, 1.0), 0.0)
    return torch.nn.functional.pad(quotient, (0, 1))


def _one_sided(bordered: BorderedProblem, potentials: RealPotentials, upstream: Tensor) -> tuple[Tensor, Tensor]:
    """Give the derivatives by the weights without dividing by them: what nodes of weight 0 have, on the one side.

    That is Σ_j total · b_j · density_ij · upstream_ij for sources, and alike for targets; the border's entry is 0.
    """
    a, b, total = (x.detach() for x in (bordered.a[:, :-1], bordered.b[:, :-1], bordered.total.unsqueeze(-1)))
    of_a, of_b = torch.zeros_like(a), torch.zeros_like(b)
    for part in row_parts(upstream):
        flowing = bordered.density(potentials, part).double() * upstream[:, part]
        of_a[:, part] = (flowing * b.unsqueeze(-2)).sum(-1)
        of_b += (flowing * a[:, part].unsqueeze(-1)).sum(-2)
    return torch.nn.functional.pad(total * of_a, (0, 1)), torch.nn.functional.pad(total * of_b, (0, 1))
