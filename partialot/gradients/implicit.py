"""Derivatives of the optimum by the implicit function theorem.

With D_ij = exp(f_i + g_j + s − c_ij), R_i = Σ_j β_j D_ij and C_j = Σ_i α_i D_ij, the optimum solves

    R_i + β_d exp(f_i) = 1,        C_j + α_d exp(g_j) = 1,        Σ_ij α_i β_j D_ij = μ,

in which dummies (α_d, β_d) are known vectors and only real nodes and the mass are unknown: however small the mass,
nothing of its size is a difference of large numbers. For upstream derivatives u, w, t of f, g, s the adjoint system is

    λ + α ∘ (D μ + R σ) = u,        μ + β ∘ (Dᵀ λ + C σ) = w,        R·λ + C·μ + mass σ = t,

and the derivatives are −(D μ + R σ) for α, −(Dᵀ λ + C σ) for β, −exp(f)·λ for β_d, −exp(g)·μ for α_d, σ for the mass
and D_ij (λ_i β_j + μ_j α_i + α_i β_j σ) for c_ij. Nothing is divided by a weight, so nodes of weight 0 need no care.
Eliminating μ and writing λ = √α x, σ = y/√mass leaves a symmetric positive semidefinite system, solved by conjugate
gradients. Where a side has no dummy, the mass equation repeats the others and is left out; where neither has one, √α
is the null vector, the constant that may be added to f and taken from g, and is projected out.
"""

import warnings
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from partialot.augmentation import BorderedProblem, RealPotentials
from partialot.errors import ConvergenceWarning
from partialot.gradients.base import Answer, Gradient, answer_by_envelope
from partialot.gradients.conjugate_gradient import LinearSolution, conjugate_gradient
from partialot.gradients.envelope import Envelope
from partialot.kernels.reference import bounded_exp
from partialot.problem import Problem
from partialot.solvers import Solver, SolverResult


@dataclass(frozen=True)
class Implicit(Gradient):
    """Exact derivatives of the optimal plan and of everything computed from it; memory independent of the iterations.

    The derivative is that of the optimum, as accurate as the solve came near it. `value` needs no linear system for
    its first derivatives and is twice differentiable. Under `reg=None` the value has its dual derivatives and the plan
    refuses.

    Attributes:
        tol: Relative residual of the adjoint system; None = 1e-6 in float32, 1e-12 in float64. A `ConvergenceWarning`
            in the backward pass tells the residual where it was missed.
        max_iter: Most products with the plan.
    """

    tol: float | None = None
    max_iter: int = 1000

    def __post_init__(self) -> None:
        """Refuse impossible settings.

        Raises:
            ValueError: `tol` or `max_iter` is not positive.
        """
        whole = self.max_iter == int(self.max_iter) and self.max_iter >= 1
        if not whole or (self.tol is not None and not self.tol > 0):
            raise ValueError(
                "`Implicit` must have a positive `tol` and a whole positive `max_iter`. "
                f"Found `tol = {self.tol}` and `max_iter = {self.max_iter}`. Leave them out for the defaults."
            )

    def attach(self, problem: Problem, bordered: BorderedProblem, solver: Solver, result: SolverResult) -> Answer:
        """Connect potentials and with them the plan; see `Gradient.attach`."""
        if result.plan is not None:
            return Envelope().attach(problem, bordered, solver, result)
        working = result.f.dtype
        tol = {torch.float32: 1e-6, torch.float64: 1e-12}[working] if self.tol is None else self.tol
        weights = (bordered.a.to(working), bordered.b.to(working), bordered.mass.to(working))
        known = bordered.real_potentials(result.f, result.g)
        inputs = (bordered, (tol, self.max_iter), *known, bordered.cost, *weights)
        optimal = cast("tuple[Tensor, Tensor, Tensor]", _Optimum.apply(*inputs))  # pyright: ignore[reportUnknownMemberType]
        potentials = RealPotentials(*optimal)
        return answer_by_envelope(problem, bordered, potentials, bordered.plan(potentials), entropic=True)


class _Optimum(torch.autograd.Function):
    """Potentials as a function of cost, weights and mass."""

    @staticmethod
    def forward(
        ctx: Any,
        bordered: BorderedProblem,
        settings: tuple[float, int],
        f: Tensor,
        g: Tensor,
        level: Tensor,
        cost: Tensor,
        a: Tensor,
        b: Tensor,
        mass: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.bordered, ctx.settings = bordered, settings
        ctx.save_for_backward(f, g, level, a, b, mass)
        return f.clone(), g.clone(), level.clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - `once_differentiable` has no types
        ctx: Any, *upstream: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        # `value` knows its derivatives, so its backward pass arrives here with nothing to do.
        if all(part is None for part in upstream):
            return (None,) * 9
        f, g, level, a, b, mass = ctx.saved_tensors
        potentials = RealPotentials(f, g, level)
        given = [torch.zeros_like(x) if part is None else part for x, part in zip(potentials, upstream, strict=True)]
        with torch.autocast(a.device.type, enabled=False):
            system = AdjointSystem.at(ctx.bordered.density(potentials), a, b, mass)
            tol, max_iter = ctx.settings
            of_f, of_g, of_mass = system.solve(*given, tol=tol, max_iter=max_iter)
            of_a = -(system.times(of_g) + system.rows * of_mass)
            of_b = -(system.transposed_times(of_f) + system.columns * of_mass)
            of_dummies = [-(bounded_exp(here) * there).sum(-1, keepdim=True) for here, there in ((g, of_g), (f, of_f))]
        of_cost = None
        if ctx.needs_input_grad[5]:
            rows = of_f + a[:, :-1] * of_mass
            of_cost = (rows.unsqueeze(-1) * b[:, None, :-1]).addcmul_(a[:, :-1, None], of_g[:, None]).mul_(system.block)
        of_weights = torch.cat((of_a, of_dummies[0]), dim=-1), torch.cat((of_b, of_dummies[1]), dim=-1)
        return None, None, None, None, None, of_cost, *of_weights, of_mass.squeeze(-1)


@dataclass(frozen=True, eq=False)
class AdjointSystem:
    """The adjoint system at one optimum.

    Attributes:
        block: D.
        a: α, without the dummy's.
        b: β, likewise.
        rows: R.
        columns: C.
        mass: At least the smallest number.
        carries: 1 where the mass equation says something of its own, else 0.
        free: 1 where a constant is free, else 0.
    """

    block: Float[Tensor, "batch n m"]
    a: Float[Tensor, "batch n"]
    b: Float[Tensor, "batch m"]
    rows: Float[Tensor, "batch n"]
    columns: Float[Tensor, "batch m"]
    mass: Float[Tensor, "batch 1"]
    carries: Float[Tensor, "batch 1"]
    free: Float[Tensor, "batch 1"]

    @classmethod
    def at(cls, block: Tensor, a: Tensor, b: Tensor, mass: Tensor) -> "AdjointSystem":
        """Prepare the system from densities, bordered weights and mass."""
        dummies = (a[:, -1:] > 0, b[:, -1:] > 0)
        return cls(
            block=block,
            a=a[:, :-1],
            b=b[:, :-1],
            rows=_row_product(b[:, :-1], block.mT),
            columns=_row_product(a[:, :-1], block),
            mass=mass.unsqueeze(-1).clamp(min=torch.finfo(a.dtype).tiny),
            carries=(dummies[0] & dummies[1] & (mass.unsqueeze(-1) > 0)).to(a.dtype),
            free=(~dummies[0] & ~dummies[1]).to(a.dtype),
        )

    def times(self, x: Tensor) -> Tensor:
        """Give D x."""
        return _row_product(x, self.block.mT)

    def transposed_times(self, y: Tensor) -> Tensor:
        """Give Dᵀ y."""
        return _row_product(y, self.block)

    def solve(
        self, of_f: Tensor, of_g: Tensor, of_mass: Tensor, *, tol: float, max_iter: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Give λ, μ and σ for upstream derivatives of f, g and s.

        Args:
            of_f: u, (batch, n).
            of_g: w, (batch, m).
            of_mass: t, (batch, 1).
            tol: Relative residual.
            max_iter: Most products with the plan.
        """
        root, part = self.a.sqrt(), self.a > 0
        unit = self.carries / self.mass.sqrt()
        link = self.rows - self.times(self.b * self.columns)
        # Sources of weight 0 obey their equation alone: λ = u.
        alone = torch.where(part, 0.0, of_f)
        right = torch.where(part, of_f / torch.where(part, root, 1.0), 0.0)
        right = right + root * (self._coupled(alone) - self.times(of_g))
        right_mass = unit * (of_mass - ((self.columns * of_g).sum(-1) + (link * alone).sum(-1)).unsqueeze(-1))
        corner = 1 - unit.square() * (self.b * self.columns.square()).sum(-1, keepdim=True)
        constant = torch.cat((root * self.free, torch.zeros_like(unit)), dim=-1)
        constant = constant / constant.square().sum(-1, keepdim=True).sqrt().clamp(min=torch.finfo(root.dtype).tiny)

        def project(x: Tensor) -> Tensor:
            return x - constant * (constant * x).sum(-1, keepdim=True)

        def schur(x: Tensor) -> Tensor:
            nodes, level = x[:, :-1], x[:, -1:]
            of_nodes = torch.where(part, nodes - root * (self._coupled(root * nodes) - link * unit * level), nodes)
            of_level = unit * (root * link * nodes).sum(-1, keepdim=True) + corner * level
            return project(torch.cat((of_nodes, of_level), dim=-1))

        diagonal = 1 - self.a * _row_product(self.b, self.block.square().mT)
        diagonal = torch.cat((diagonal, corner), dim=-1).clamp(min=1e-3)
        solution = conjugate_gradient(
            schur, project(torch.cat((right, right_mass), dim=-1)), diagonal, tol=tol, max_iter=max_iter
        )
        _warn_of_residual(solution, tol)
        of_f, of_mass = alone + root * solution.x[:, :-1], unit * solution.x[:, -1:]
        return of_f, of_g - self.b * (self.transposed_times(of_f) + self.columns * of_mass), of_mass

    def _coupled(self, x: Tensor) -> Tensor:
        return self.times(self.b * self.transposed_times(x))


def _row_product(x: Tensor, matrix: Tensor) -> Tensor:
    """Give xᵀ · matrix; `bmm` with one column is 5 times slower on the CPU than with one row (torch 2.13)."""
    return torch.bmm(x.unsqueeze(-2), matrix).squeeze(-2)


def _warn_of_residual(solution: LinearSolution, tol: float) -> None:
    worst = float(solution.residual.max()) if solution.residual.numel() else 0.0
    if worst > 100 * tol:
        warnings.warn(
            f"The adjoint system should be solved to a relative residual of {tol:.1g}. It stopped at {worst:.1g} after "
            f"{int(solution.n_iter.max())} products. Raise `Implicit(max_iter=…)` or `reg`, or work in float64.",
            ConvergenceWarning,
            stacklevel=3,
        )
