"""What `solve` returns."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from partialot.certificate import Certificate, certify
from partialot.geometry import ShardedRows
from partialot.gradients.density import density
from partialot.inputs import columns
from partialot.modes import recomputed, require_memory, uncompiled
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
        return self._rows_of_plan(slice(None)) if self.known.plan is None else self.known.plan

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
        paid = [recomputed(self._paid, rows) for rows in self.problem.row_blocks()]
        return self.problem.ranks.sum(torch.stack(paid).sum(0) if paid else torch.zeros_like(self.value))

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
        vectors = columns(x, self.problem.batch_shape, self.problem.size, 1).to(self.value.dtype)
        parts = [self._times(rows, vectors) for rows in self.problem.row_blocks()]
        product = torch.cat(parts, dim=-2) if parts else vectors.new_zeros((*self.value.shape, 0, vectors.shape[-1]))
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
        vectors = columns(y, self.problem.batch_shape, self.problem.size, 0).to(self.value.dtype)
        product = vectors.new_zeros((*self.value.shape, self.problem.size[1], vectors.shape[-1]))
        for rows in self.problem.row_blocks():
            product = product + self._transposed_times(rows, vectors)
        product = self.problem.ranks.sum(product.to(self.value.dtype))
        return product.squeeze(-1) if y.ndim < vectors.ndim else product

    def _times(self, rows: slice, vectors: Tensor) -> Tensor:
        """Multiply some rows of the plan with (*batch, m, k)."""
        if self.known.plan is not None:
            return self.known.plan[..., rows, :] @ vectors
        # Weights multiply the vectors, which are smaller than the plan.
        left, right = self._weights()
        sums = recomputed(lambda: self._density(rows) @ (right.unsqueeze(-1) * vectors))
        return (left[..., rows, None] * sums).to(self.value.dtype)

    def _transposed_times(self, rows: slice, vectors: Tensor) -> Tensor:
        """Multiply the transpose of some rows of the plan with their part of (*batch, n, k)."""
        if self.known.plan is not None:
            return self.known.plan[..., rows, :].mT @ vectors[..., rows, :]
        left, right = self._weights()
        part = left[..., rows, None] * vectors[..., rows, :]
        return right.unsqueeze(-1) * recomputed(lambda: self._density(rows).mT @ part)

    def _rows_of_plan(self, rows: slice) -> Float[Tensor, "*batch rows m"]:
        """Give some rows of the plan, evaluated from the potentials where it is not stored."""
        if self.known.plan is not None:
            return self.known.plan[..., rows, :]
        left, right = self._weights()
        return (self._density(rows) * left[..., rows, None] * right.unsqueeze(-2)).to(self.value.dtype)

    def _paid(self, rows: slice) -> Float[Tensor, "*batch"]:
        """Give Σ cost · plan over some rows."""
        plan = self._rows_of_plan(rows)
        cost = self.problem.geometry.block(rows).to(plan.dtype).expand(plan.shape)
        cost = cost.masked_fill(cost == torch.inf, 0.0) if self.problem.forbids else cost
        return torch.einsum("...ij,...ij->...", cost, plan)

    def _density(self, rows: slice) -> Float[Tensor, "*batch rows m"]:
        """Give some rows of the plan over the weights, evaluated from the potentials."""
        require_memory(
            "A plan whose prices are lazy", 'Pass `storage="matrix"`; `value` and `potentials` need no plan.'
        )
        f, g = self.known.potentials
        if self.problem.formulation == "capped":
            f, g = self._relative_to_weights(f, g)
        block = uncompiled(density, self.problem, f, g, rows)
        return block.reshape(*self.value.shape, *block.shape[-2:])

    def _weights(self) -> tuple[Float[Tensor, "*batch n"], Float[Tensor, "*batch m"]]:
        """Give what multiplies the rows and the columns of the density: a / T and b."""
        left = self.problem.a.double() / self.known.total.unsqueeze(-1)
        return left.to(self.problem.b.dtype), self.problem.b

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
        geometry = self.problem.geometry
        with torch.no_grad():
            geometry = geometry.replace(*(tensor.detach() for tensor in geometry.tensors)).prepare()
        return map_tensors(replace(self, problem=self.problem.on(geometry)), torch.Tensor.detach)

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
        f, g = self.potentials
        return uncompiled(certify, self.problem, self.plan.detach(), f.detach(), g.detach(), self.mass_price.detach())
