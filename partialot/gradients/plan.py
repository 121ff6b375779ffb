"""What a derivative by the plan is, with the potentials held: plan_ij = total · a_i b_j · exp(f_i + g_j + …)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.augmentation import BorderedProblem, RealPotentials
from partialot.kernels.reference import bounded_exp


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
        if bordered.a.requires_grad:
            of_a = of_a + _of_empty_sources(bordered, potentials, upstream)
        if bordered.b.requires_grad:
            of_b = of_b + _of_empty_targets(bordered, potentials, upstream)
        return cls(plan, upstream, rows, columns, of_a, of_b)


def row_parts(block: Float[Tensor, "batch n m"]) -> Iterator[slice]:
    """Cut rows so that temporaries stay in a cache."""
    step = max(1, (1 << 19) // max(1, block.shape[0] * block.shape[2]))
    return (slice(start, start + step) for start in range(0, block.shape[1], step))


def _per_weight(sums: Tensor, weights: Tensor) -> Tensor:
    """Divide by the weights, 0 at those of 0; the border's entry is 0."""
    real = weights[:, :-1]
    quotient = torch.where(real > 0, sums / torch.where(real > 0, real, 1.0), 0.0)
    return torch.nn.functional.pad(quotient, (0, 1))


def _of_empty_sources(bordered: BorderedProblem, potentials: RealPotentials, upstream: Tensor) -> Tensor:
    """Give Σ_j total · b_j · density_ij · upstream_ij at sources of weight 0: a one-sided derivative."""
    found = torch.zeros_like(bordered.a)
    for problem, node in _places(bordered.a[:, :-1] <= 0):
        prices = bordered.prices(slice(node, node + 1))
        exponent = potentials.f[problem, node] + potentials.g[problem] + potentials.mass[problem]
        exponent = exponent - (prices.cost[problem, 0].double() - prices.shift[problem]) * prices.unit[problem]
        terms = bounded_exp(exponent) * bordered.b[problem, :-1] * upstream[problem, node]
        found[problem, node] = terms.sum() * bordered.total[problem]
    return found.detach()


def _of_empty_targets(bordered: BorderedProblem, potentials: RealPotentials, upstream: Tensor) -> Tensor:
    """The same for targets."""
    found = torch.zeros_like(bordered.b)
    for problem, node in _places(bordered.b[:, :-1] <= 0):
        prices = bordered.prices(slice(None))
        exponent = potentials.f[problem] + potentials.g[problem, node] + potentials.mass[problem]
        exponent = exponent - (prices.cost[problem, :, node].double() - prices.shift[problem]) * prices.unit[problem]
        terms = bounded_exp(exponent) * bordered.a[problem, :-1] * upstream[problem, :, node]
        found[problem, node] = terms.sum() * bordered.total[problem]
    return found.detach()


def _places(chosen: Tensor) -> list[tuple[int, int]]:
    return [(int(problem), int(node)) for problem, node in chosen.nonzero()]
