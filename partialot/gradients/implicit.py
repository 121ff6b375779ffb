"""Derivatives of the optimum by the implicit function theorem.

With D_ij = exp(f_i + g_j − c_ij), the optimum solves Σ_j β_j D_ij = 1 for every i and Σ_i α_i D_ij = 1 for every j,
border included. For upstream derivatives u and w of the potentials the adjoint system is

    λ + α ∘ (D μ) = u,        μ + β ∘ (Dᵀ λ) = w,

and the derivatives are −D μ for α, −Dᵀ λ for β and D_ij (λ_i β_j + μ_j α_i) for c_ij. Nothing is divided by a weight,
so nodes of weight 0 need no care. Eliminating μ and writing λ = √α x leaves a symmetric positive semidefinite system,
solved by conjugate gradients; its null vector √α is the constant that may be added to f and taken from g, and is
projected out.
"""

import warnings
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from partialot.augmentation import BorderedProblem
from partialot.errors import ConvergenceWarning
from partialot.gradients.base import Answer, Gradient, answer_from_potentials
from partialot.gradients.conjugate_gradient import conjugate_gradient
from partialot.gradients.envelope import Envelope
from partialot.kernels.bordered import BorderedMatrix
from partialot.problem import Problem
from partialot.solvers import Potentials, Solver, SolverResult


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

    def attach(
        self, problem: Problem, bordered: BorderedProblem, solver: Solver, result: SolverResult, init: Potentials | None
    ) -> Answer:
        """Connect potentials and with them the plan; see `Gradient.attach`."""
        if result.plan is not None:
            return Envelope().attach(problem, bordered, solver, result, init)
        working = result.f.dtype
        tol = {torch.float32: 1e-6, torch.float64: 1e-12}[working] if self.tol is None else self.tol
        a, b = bordered.a.to(working), bordered.b.to(working)
        inputs = (bordered, (tol, self.max_iter), result.f, result.g, bordered.cost, a, b)
        f, g = cast(Potentials, _OptimalPotentials.apply(*inputs))  # pyright: ignore[reportUnknownMemberType]
        return answer_from_potentials(problem, bordered, f, g, bordered.plan(f, g), entropic=True)


class _OptimalPotentials(torch.autograd.Function):
    """Potentials as a function of cost and weights."""

    @staticmethod
    def forward(
        ctx: Any,
        bordered: BorderedProblem,
        settings: tuple[float, int],
        f: Tensor,
        g: Tensor,
        cost: Tensor,
        a: Tensor,
        b: Tensor,
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.bordered, ctx.settings = bordered, settings
        ctx.save_for_backward(f, g, a, b)
        return f.clone(), g.clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - `once_differentiable` has no types
        ctx: Any, *upstream: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        of_f, of_g = upstream
        # `value` knows its derivatives, so its backward pass arrives here with nothing to do.
        if of_f is None and of_g is None:
            return (None,) * 7
        f, g, a, b = ctx.saved_tensors
        of_f, of_g = torch.zeros_like(f) if of_f is None else of_f, torch.zeros_like(g) if of_g is None else of_g
        densities = ctx.bordered.density(f, g)
        with torch.autocast(a.device.type, enabled=False):
            of_f, of_g = solve_adjoint(densities, a, b, of_f, of_g, *ctx.settings)
            of_a, of_b = -densities.times(of_g), -densities.transposed_times(of_f)
        of_cost = None
        if ctx.needs_input_grad[4]:
            block = of_f[:, :-1, None] * b[:, None, :-1]
            of_cost = block.addcmul_(a[:, :-1, None], of_g[:, None, :-1]).mul_(densities.block)
        return None, None, None, None, of_cost, of_a, of_b


def solve_adjoint(
    densities: BorderedMatrix, a: Tensor, b: Tensor, of_f: Tensor, of_g: Tensor, tol: float, max_iter: int
) -> tuple[Tensor, Tensor]:
    """Solve the adjoint system above.

    Args:
        densities: D, at the optimum.
        a: Source weights α, (batch, n + 1).
        b: Target weights β, (batch, m + 1).
        of_f: u, (batch, n + 1).
        of_g: w, (batch, m + 1).
        tol: Relative residual.
        max_iter: Most products.

    Returns:
        λ and μ.
    """

    def coupled(x: Tensor) -> Tensor:
        return densities.times(b * densities.transposed_times(x))

    root = a.sqrt()
    part = a > 0
    # Sources of weight 0 obey their equation alone: λ = u.
    alone = torch.where(part, 0.0, of_f)
    right = torch.where(part, of_f / torch.where(part, root, 1.0), 0.0)
    right = right - root * densities.times(of_g) + root * coupled(alone)
    constant = root / root.square().sum(-1, keepdim=True).sqrt().clamp(min=torch.finfo(a.dtype).tiny)

    def project(x: Tensor) -> Tensor:
        return x - constant * (constant * x).sum(-1, keepdim=True)

    def schur(x: Tensor) -> Tensor:
        return project(torch.where(part, x - root * coupled(root * x), x))

    diagonal = 1 - a * densities.squared().times(b)
    solution = conjugate_gradient(schur, project(right), diagonal.clamp(min=1e-3), tol=tol, max_iter=max_iter)
    worst = float(solution.residual.max()) if solution.residual.numel() else 0.0
    if worst > 100 * tol:
        warnings.warn(
            f"The adjoint system should be solved to a relative residual of {tol:.1g}. It stopped at {worst:.1g} after "
            f"{int(solution.n_iter.max())} products. Raise `Implicit(max_iter=…)` or `reg`, or work in float64.",
            ConvergenceWarning,
            stacklevel=2,
        )
    of_f_solved = alone + root * solution.x
    return of_f_solved, of_g - b * densities.transposed_times(of_f_solved)
