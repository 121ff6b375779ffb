"""What `solve` returns."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from partialot.certificate import Certificate, certify
from partialot.problem import Problem
from partialot.solvers import Status


@dataclass(frozen=True, eq=False)
class Solution:
    """A plan with everything known about it; leading dimensions are independent problems.

    Attributes:
        problem: What was solved, with the inputs broadcast to the full batch shape.
        plan: How much moves from source i to target j; exactly 0 at forbidden pairs and at nodes of weight 0.
        value: The objective: ⟨cost, plan⟩, plus reg · KL(P̃ ‖ Ã⊗B̃/T) over the dummy-node problem when `reg` is given.
            Differentiable with respect to every input. Before convergence, the dual objective reached.
        potentials: (f, g) in units of the cost: plan_ij = a_i b_j / T · exp((f_i + g_j − cost_ij)/reg). In partial
            problems f = ∂value/∂a and g = ∂value/∂b + mass_price; in balanced ones f and g are the derivatives,
            centred so that each side sums to half the value (a constant may be moved from one to the other).
        mass_price: ∂value/∂mass, what one more unit would cost. At mass 0 under `reg` the true slope is −∞ and a large
            finite one is given. In balanced problems, where mass cannot grow alone, the value per unit of mass.
        n_iter: Sweeps spent on each problem; 0 for `ExactLP`.
        status: A `Status` for each problem.
        duals: Potentials of the dummy-node problem in units of the cost, dummies last: what `init` starts from.
    """

    problem: Problem
    plan: Float[Tensor, "*batch n m"]
    value: Float[Tensor, "*batch"]
    potentials: tuple[Float[Tensor, "*batch n"], Float[Tensor, "*batch m"]]
    mass_price: Float[Tensor, "*batch"]
    n_iter: Int[Tensor, "*batch"]
    status: Int[Tensor, "*batch"]
    duals: tuple[Float[Tensor, "*batch sources"], Float[Tensor, "*batch targets"]]

    @property
    def marginal_error(self) -> Float[Tensor, "*batch"]:
        """How far the plan is from feasible, relative to the mass: the largest of three violations.

        What rows carry above their weights, summed; the same of columns; the difference of the mass moved from the
        mass asked for. In balanced problems what is missing counts like what is too much.
        """
        plan, rows, columns = self.plan.detach(), -self.slack_a.detach(), -self.slack_b.detach()
        balanced = self.problem.mass is None
        wanted = self.problem.a.sum(-1) if self.problem.mass is None else self.problem.mass
        excess = [(side.abs() if balanced else side.clamp(min=0)).sum(-1) for side in (rows, columns)]
        wanted = wanted.detach().to(plan.dtype)
        worst = torch.maximum(torch.maximum(*excess), (plan.sum((-2, -1)) - wanted).abs())
        return torch.where(worst > 0, worst / torch.where(wanted > 0, wanted, 1.0), 0.0)

    @property
    def converged(self) -> Bool[Tensor, "*batch"]:
        """Whether the solver met its tolerance, which bounds `marginal_error`; see `status` for why not."""
        return self.status == Status.CONVERGED

    @property
    def value_linear(self) -> Float[Tensor, "*batch"]:
        """⟨cost, plan⟩, the price of the plan without its entropy."""
        cost = self.problem.geometry.matrix()
        return (cost.masked_fill(cost == torch.inf, 0.0) * self.plan).sum((-2, -1))

    @property
    def marginal_a(self) -> Float[Tensor, "*batch n"]:
        """How much each source sends, plan · 1."""
        return self.plan.sum(-1)

    @property
    def marginal_b(self) -> Float[Tensor, "*batch m"]:
        """How much each target receives, planᵀ · 1."""
        return self.plan.sum(-2)

    @property
    def slack_a(self) -> Float[Tensor, "*batch n"]:
        """What each source keeps, a − marginal_a; below 0 by as much as the constraint is violated."""
        return self.problem.a.to(self.plan.dtype) - self.marginal_a

    @property
    def slack_b(self) -> Float[Tensor, "*batch m"]:
        """What each target lacks, b − marginal_b."""
        return self.problem.b.to(self.plan.dtype) - self.marginal_b

    @property
    def mass(self) -> Float[Tensor, "*batch"]:
        """How much the plan moves."""
        return self.plan.sum((-2, -1))

    def apply(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Multiply the plan with x.

        Args:
            x: One number for each target, (*batch, m), or k of them, (*batch, m, k); batch dimensions of size 1 are
                shared.

        Returns:
            (*batch, n) or (*batch, n, k).

        Raises:
            ValueError: x has neither shape.
        """
        return _product(self.plan, x)

    def apply_transpose(self, y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Multiply the transposed plan with y.

        Args:
            y: One number for each source, (*batch, n), or k of them, (*batch, n, k); batch dimensions of size 1 are
                shared.

        Returns:
            (*batch, m) or (*batch, m, k).

        Raises:
            ValueError: y has neither shape.
        """
        return _product(self.plan.mT, y)

    def certificate(self) -> Certificate:
        """Bracket the value of the exact linear programme by a feasible plan and a dual bound; no gradient."""
        f, g = self.potentials
        return certify(self.problem, self.plan.detach(), f.detach(), g.detach(), self.mass_price.detach())


def _product(plan: Tensor, x: Tensor) -> Tensor:
    vectors = x.unsqueeze(-1) if x.ndim == plan.ndim - 1 else x
    if vectors.ndim != plan.ndim or vectors.shape[-2] != plan.shape[-1] or not _broadcasts(plan, vectors):
        raise ValueError(
            f"The plan multiplies tensors of shape (*batch, {plan.shape[-1]}) or (*batch, {plan.shape[-1]}, k). "
            f"Found {tuple(x.shape)} beside a plan of {tuple(plan.shape)}. "
            "Use `apply` for targets, `apply_transpose` for sources."
        )
    product = plan @ vectors.to(plan.dtype)
    return product.squeeze(-1) if x.ndim == plan.ndim - 1 else product


def _broadcasts(plan: Tensor, vectors: Tensor) -> bool:
    pairs = zip(plan.shape[:-2], vectors.shape[:-2], strict=True)
    return all(one == other or 1 in (one, other) for one, other in pairs)
