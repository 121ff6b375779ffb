"""Products with the real block of a plan, P_ij = exp(rows_i + columns_j − unit · (cost_ij − shift)), each one read."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.kernels import dispatch
from partialot.kernels.primitives import Entries, Prices

_ENTRIES = 1 << 19
"""Entries squared at a time: a temporary that stays in a cache."""


@dataclass(frozen=True, eq=False)
class StoredProducts:
    """By a stored kernel, whose rows and columns are scaled.

    Attributes:
        matrix: The kernel.
        left: (batch, n), what each row is multiplied by.
        right: (batch, m), what each column is.
    """

    matrix: Float[Tensor, "batch n m"]
    left: Float[Tensor, "batch n"]
    right: Float[Tensor, "batch m"]

    def sandwich(
        self, x: Float[Tensor, "batch m"], scale: Float[Tensor, "batch n"], offset: Float[Tensor, "batch n"]
    ) -> tuple[Float[Tensor, "batch n"], Float[Tensor, "batch m"]]:
        """Give y = P x and z = Pᵀ (scale ∘ y + offset)."""
        y, z = dispatch.sandwich(self.matrix, self.right * x, self.left.square() * scale, self.left * offset)
        return self.left * y, self.right * z

    def squares(self, weights: Float[Tensor, "batch n"]) -> Float[Tensor, "batch m"]:
        """Give Σ_i weights_i P_ij²."""
        weights = (self.left.square() * weights).to(self.matrix.dtype).unsqueeze(-2)
        found = torch.zeros_like(self.right)
        step = max(1, _ENTRIES // max(1, self.matrix.shape[0] * self.matrix.shape[2]))
        for start in range(0, self.matrix.shape[1], step):
            part = slice(start, start + step)
            found += torch.bmm(weights[..., part], self.matrix[:, part].square()).squeeze(-2)
        return found * self.right.square()


@dataclass(frozen=True, eq=False)
class EvaluatedProducts:
    """By entries evaluated at every read.

    Attributes:
        entries: From costs only.
    """

    entries: Entries

    def sandwich(self, x: Tensor, scale: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
        """See `StoredProducts.sandwich`."""
        return dispatch.evaluated_sandwich(self.entries, x, scale, offset)

    def squares(self, weights: Tensor) -> Tensor:
        """See `StoredProducts.squares`."""
        here, prices = self.entries, self.entries.prices
        # The squares of entries are those of twice the potentials at half the regularisation.
        doubled = Prices(prices.cost, 2 * prices.unit, prices.shift)
        return (dispatch.column_log_sums(doubled, 2 * here.rows + weights.log()) + 2 * here.columns).exp()


Products = StoredProducts | EvaluatedProducts
