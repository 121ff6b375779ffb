"""The Sinkhorn divergence, balanced and partial."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.geometry.costs import CostFunction
from partialot.inputs import checks_its_inputs
from partialot.nn.loss import FeatureLoss
from partialot.problem import Problem
from partialot.solvers import Solver


class SinkhornDivergence(FeatureLoss):
    """The price of transport between two sets of features, less what each would pay to be carried to itself.

    With V the value of `partialot.solve`, every term at the same mass M and `reg`,

        S(x, y) = V(x, y) − V(x, x)/2 − V(y, y)/2 + reg · J,   J = (T_a log(T_a/T) + T_b log(T_b/T)) / 2,

    where T_a = 2Σa − M, T_b = 2Σb − M and T = Σa + Σb − M are the totals of the three problems with their dummy nodes.
    J ≥ 0 pays for weights of unequal totals; it is 0 where they agree, so always in balanced transport.

    Proven, for a symmetric cost whose kernel exp(−cost/reg) is positive definite, as of every cost known by name:

    - S = 0 where x = y and a = b.
    - S ≥ 0. Balanced: Feydy et al. (2019), theorem 1. Partial: let p and q be what a plan takes from a and leaves at b,
      over M, and r(p) what stays of a, over Σa − M. Up to a constant of the totals, to which J is the answer, V is the
      least over p and q of M · OT(p, q) + G_a(p) + G_b(q), where OT is the balanced value of total 1 and
      G_a(p) = reg · (M KL(p ‖ a/Σa) + (Σa − M) KL(r(p) ‖ a/Σa)). By the balanced theorem that is at least the sum of
      the least of M · OT(p, p)/2 + G_a(p) and of the least of the same for q and b; and each is half a self-term,
      whose optimal plan is symmetric, being unique.
    - As reg → ∞, S → −(M/2) · (a/Σa − b/Σb)ᵀ C (a/Σa − b/Σb) over all features: half the energy distance under
      "euclidean". As reg → 0, S → the value of the exact linear programme where the cost of x_i to itself is 0 and none
      is negative.

    Balanced, S = 0 only where both sets are equal as measures; partial, small `reg`, already where they share mass M.
    For a cost of your own without such a kernel, S may be negative.

    The derivatives are first ones of three values, without a linear system. In float32, S carries the rounding of the
    values of which it is a difference: 1e-7 to 7e-7 of V(x, y), measured for 40 points in a unit cube and `reg` from
    0.1 to 5. It takes the time of its three solves; those of a set with itself took no more sweeps than the one across.

    Args:
        cost: As in `TransportMatching`; a function must be symmetric: cost(x, x) is its own transpose.
        reg: Entropic regularisation in units of the cost.
        mass: Total to move, at most the smaller total of weights; None = balanced. A call may override it.
        solver: See `partialot.solve`.
        reduction: "mean" or "sum" over the batch, or "none".

    Raises:
        ValueError: No cost or reduction has that name, or there is no `reg`.

    References:
        Feydy, Séjourné, Vialard, Amari, Trouvé and Peyré (2019), Interpolating between optimal transport and MMD using
        Sinkhorn divergences.
        Séjourné, Feydy, Vialard, Trouvé and Peyré (2019), Sinkhorn divergences for unbalanced optimal transport, which
        have a term for unequal totals too.
    """

    @checks_its_inputs
    def __init__(
        self,
        *,
        cost: str | CostFunction = "sqeuclidean",
        reg: float = 0.05,
        mass: float | None = None,
        solver: Solver | None = None,
        reduction: Literal["mean", "sum", "none"] = "mean",
    ) -> None:
        if reg is None:  # pyright: ignore[reportUnnecessaryComparison] - not every caller is type-checked
            raise ValueError(
                "`reg` must be a positive number in a Sinkhorn divergence. Found None. "
                "Pass one, or take `TransportLoss(reg=None)`: exact transport has no entropy to take out."
            )
        super().__init__(cost=cost, reg=reg, mass=mass, solver=solver, reduction=reduction)

    def values(
        self,
        x: Float[Tensor, "*batch n d"],
        y: Float[Tensor, "*batch m d"],
        a: Float[Tensor, "*#batch n"] | None,
        b: Float[Tensor, "*#batch m"] | None,
        mass: float | Float[Tensor, "*#batch"] | None,
    ) -> Float[Tensor, "*batch"]:
        """Give the divergence of each problem."""
        across = self.matching(x, y, a, b, mass=mass)
        within = self.matching(x, x, a, a, mass=mass).value + self.matching(y, y, b, b, mass=mass).value
        return across.value - within / 2 + _price_of_unequal_totals(across.problem).to(within.dtype)


def _price_of_unequal_totals(problem: Problem) -> Float[Tensor, "*batch"]:
    """Give reg · J; with d the difference of Σa and Σb over T, J = T/2 · ((1 + d) log(1 + d) + (1 − d) log(1 − d))."""
    total_a, total_b = problem.a.double().sum(-1), problem.b.double().sum(-1)
    if problem.mass is None or problem.reg is None:
        return torch.zeros_like(total_a)
    total = total_a + total_b - problem.mass.double()
    limit = torch.finfo(total.dtype)
    # One side may be empty, when |d| = 1, or both, when T = 0.
    d = ((total_a - total_b) / total.clamp(min=limit.tiny)).clamp(limit.eps - 1, 1 - limit.eps)
    return problem.reg.double() * total / 2 * ((1 + d) * d.log1p() + (1 - d) * (-d).log1p())
