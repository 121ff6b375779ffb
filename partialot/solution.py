"""What `solve` returns."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from partialot.certificate import Certificate, certify
from partialot.geometry import ShardedRows
from partialot.gradients.lazy import LazyPlan
from partialot.modes import require_memory, uncompiled
from partialot.problem import Problem
from partialot.solvers import Status
from partialot.tensors import map_tensors


@dataclass(frozen=True, eq=False)
class Known:
    """What a solution is read from.

    Attributes:
        plan: The plan; None where prices are lazy and the plan is evaluated from the potentials.
        potentials: (f, g) in units of the cost, float64.
        total: T = Σa + Σb − M, float64.
    """

    plan: Float[Tensor, "*batch n m"] | None
    potentials: tuple[Float[Tensor, "*batch n"], Float[Tensor, "*batch m"]]
    total: Float[Tensor, "*batch"]


@dataclass(frozen=True, eq=False)
class Solution:
    """A plan with everything known about it; leading dimensions are independent problems.

    Attributes:
        problem: What was solved, with the inputs broadcast to the full batch shape.
        value: The objective: ⟨cost, plan⟩, plus reg · KL(P̃ ‖ Ã⊗B̃/T) over the dummy-node problem when `reg` is given.
            Capped: plus reg · Σ plan · (log plan − 1). Where mass has a price, less that times the mass. Differentiable
            with respect to every input. Before convergence, the dual objective reached.
        mass_price: ∂value/∂mass, what one more unit would cost. At mass 0 under `reg` the true slope is −∞ and a large
            finite one is given. In balanced problems, where mass cannot grow alone, the value per unit of mass.
        n_iter: Sweeps spent on each problem; 0 for `ExactLP`.
        status: A `Status` for each problem.
        duals: Potentials of the dummy-node problem in units of the cost, dummies last: what `init` starts from.
        known: What the rest is read from.
    """

    problem: Problem
    value: Float[Tensor, "*batch"]
    mass_price: Float[Tensor, "*batch"]
    n_iter: Int[Tensor, "*batch"]
    status: Int[Tensor, "*batch"]
    duals: tuple[Float[Tensor, "*batch sources"], Float[Tensor, "*batch targets"]]
    known: Known

    @property
    def plan(self) -> Float[Tensor, "*batch n m"]:
        """How much moves from source i to target j; exactly 0 at forbidden pairs and at nodes of weight 0.

        Where prices are lazy, every access writes the n × m numbers out; see `apply` for products without that.
        """
        if self.known.plan is not None:
            return self.known.plan
        return uncompiled(LazyPlan.matrix, self._lazy_plan()).to(self.value.dtype)

    @property
    def potentials(self) -> tuple[Float[Tensor, "*batch n"], Float[Tensor, "*batch m"]]:
        """(f, g) in units of the cost: plan_ij = a_i b_j / T · exp((f_i + g_j − cost_ij)/reg).

        Capped: plan_ij = exp((f_i + g_j − cost_ij)/reg), but for nodes of weight 0, whose potentials stand for −∞.
        In partial problems f = ∂value/∂a and g = ∂value/∂b + mass_price; in balanced ones f and g are the derivatives,
        centred so that each side sums to half the value (a constant may be moved from one to the other).
        """
        f, g = self.known.potentials
        return f.to(self.value.dtype), g.to(self.value.dtype)

    @property
    @torch.no_grad()
    def marginal_error(self) -> Float[Tensor, "*batch"]:
        """How far the plan is from feasible, relative to the mass: the largest of three violations.

        What rows carry above their weights, summed; the same of columns; the difference of the mass moved from the
        mass asked for. In balanced problems what is missing counts like what is too much.
        """
        rows, columns = -self.slack_a, -self.slack_b
        moved, ranks = self.mass, self.problem.ranks
        balanced, wanted = self.problem.is_balanced, self.problem.mass
        if wanted is None:
            wanted = ranks.sum(self.problem.a.sum(-1)) if balanced else moved
        above, below = ((side.abs() if balanced else side.clamp(min=0)).sum(-1) for side in (rows, columns))
        wanted = wanted.to(moved.dtype)
        worst = torch.maximum(torch.maximum(ranks.sum(above), below), (moved - wanted).abs())
        return torch.where(worst > 0, worst / torch.where(wanted > 0, wanted, 1.0), 0.0)

    @property
    def converged(self) -> Bool[Tensor, "*batch"]:
        """Whether the solver met its tolerance, which bounds `marginal_error`; see `status` for why not."""
        return self.status == Status.CONVERGED

    @property
    def value_linear(self) -> Float[Tensor, "*batch"]:
        """⟨cost, plan⟩, the price of the plan without its entropy."""
        if self.known.plan is None:
            paid = uncompiled(LazyPlan.paid, self._lazy_plan()).to(self.value.dtype)
        else:
            cost = self.problem.geometry.matrix().to(self.known.plan.dtype).expand(self.known.plan.shape)
            cost = cost.masked_fill(cost == torch.inf, 0.0) if self.problem.forbids else cost
            paid = torch.einsum("...ij,...ij->...", cost, self.known.plan)
        return self.problem.ranks.sum(paid)

    @property
    def marginal_a(self) -> Float[Tensor, "*batch n"]:
        """How much each source sends, plan · 1."""
        return self.apply(self.problem.b.new_ones((1,) * (self.problem.b.ndim - 1) + self.problem.b.shape[-1:]))

    @property
    def marginal_b(self) -> Float[Tensor, "*batch m"]:
        """How much each target receives, planᵀ · 1."""
        return self.apply_transpose(
            self.problem.a.new_ones((1,) * (self.problem.a.ndim - 1) + self.problem.a.shape[-1:])
        )

    @property
    def slack_a(self) -> Float[Tensor, "*batch n"]:
        """What each source keeps, a − marginal_a; below 0 by as much as the constraint is violated."""
        return self.problem.a.to(self.value.dtype) - self.marginal_a

    @property
    def slack_b(self) -> Float[Tensor, "*batch m"]:
        """What each target lacks, b − marginal_b."""
        return self.problem.b.to(self.value.dtype) - self.marginal_b

    @property
    def mass(self) -> Float[Tensor, "*batch"]:
        """How much the plan moves."""
        return self.problem.ranks.sum(self.marginal_a.sum(-1))

    def apply(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Multiply the plan with x; where prices are lazy, block by block without storing the plan.

        Args:
            x: One number for each target, (*batch, m), or k of them, (*batch, m, k); batch dimensions of size 1 are
                shared.

        Returns:
            (*batch, n) or (*batch, n, k).

        Raises:
            ValueError: x has neither shape.
        """
        vectors = _columns(x, self.problem, self.problem.size[1]).to(self.value.dtype)
        if self.known.plan is None:
            product = uncompiled(LazyPlan.times, self._lazy_plan(), vectors).to(self.value.dtype)
        else:
            product = self.known.plan @ vectors
        return product.squeeze(-1) if x.ndim < vectors.ndim else product

    def apply_transpose(self, y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Multiply the transposed plan with y; where prices are lazy, block by block without storing the plan.

        Args:
            y: One number for each source, (*batch, n), or k of them, (*batch, n, k); batch dimensions of size 1 are
                shared.

        Returns:
            (*batch, m) or (*batch, m, k).

        Raises:
            ValueError: y has neither shape.
        """
        vectors = _columns(y, self.problem, self.problem.size[0]).to(self.value.dtype)
        if self.known.plan is None:
            product = uncompiled(LazyPlan.transposed_times, self._lazy_plan(), vectors).to(self.value.dtype)
        else:
            product = self.known.plan.mT @ vectors
        product = self.problem.ranks.sum(product)
        return product.squeeze(-1) if y.ndim < vectors.ndim else product

    def _lazy_plan(self) -> LazyPlan:
        """Give the plan that is evaluated from the potentials."""
        require_memory(
            "A plan whose prices are lazy", 'Pass `storage="matrix"`; `value` and `potentials` need no plan.'
        )
        f, g = self.known.potentials
        if self.problem.formulation == "capped":
            f, g = self._relative_to_weights(f, g)
        left = self.problem.a.double() / self.known.total.unsqueeze(-1)
        return LazyPlan(self.problem, f, g, left.to(self.problem.b.dtype), self.problem.b)

    def _relative_to_weights(self, f: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """Take what weights stand for out of capped potentials; a weight of 0 counts as the smallest number."""
        assert self.problem.reg is not None
        reg, total = self.problem.reg.double().unsqueeze(-1), self.known.total.unsqueeze(-1)
        least = torch.finfo(torch.float64).tiny
        log_a, log_b = ((x / total).clamp(min=least).log() for x in (self.problem.a.double(), self.problem.b.double()))
        return f - reg * log_a, g - reg * (log_b + total.log())

    def detach(self) -> "Solution":
        """Give the same solution without a graph, as `torch.Tensor.detach` does; numbers are shared, not copied.

        What is kept from one step of a training to the next, for a log or as the next `init`, would keep that step's
        graph and its features else.
        """
        problem = self.problem.on(self.problem.geometry.detach())
        return map_tensors(replace(self, problem=problem), torch.Tensor.detach)

    def certificate(self) -> Certificate:
        """Bracket the value of the exact linear programme by a feasible plan and a dual bound; no gradient.

        The plan is written out, in float64 too, even where prices are lazy.

        Raises:
            ValueError: Rows are sharded.
            NotImplementedError: A transform of `torch.func` is at work.
        """
        require_memory("A certificate", "Solve the batch of problems without a transform.")
        if isinstance(self.problem.geometry, ShardedRows):
            raise ValueError(
                "A certificate needs every row in one process. Found `ShardedRows`. "
                "Judge the answer by `marginal_error`, or gather the costs on one rank and solve there."
            )
        f, _ = self.potentials
        return uncompiled(certify, self.problem, self.plan.detach(), f.detach(), self.mass_price.detach())


def _columns(x: Tensor, problem: Problem, size: int) -> Tensor:
    """Bring what a plan multiplies to (*batch, size, k)."""
    batch = problem.batch_shape
    vectors = x.unsqueeze(-1) if x.ndim == len(batch) + 1 else x
    fits = vectors.ndim == len(batch) + 2 and vectors.shape[-2] == size
    if not (fits and all(one == other or one == 1 for one, other in zip(vectors.shape, batch, strict=False))):
        raise ValueError(
            f"The plan multiplies tensors of shape (*batch, {size}) or (*batch, {size}, k). "
            f"Found {tuple(x.shape)} beside a plan of {(*batch, *problem.size)}. "
            "Use `apply` for targets, `apply_transpose` for sources."
        )
    return vectors
