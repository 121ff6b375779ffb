"""Derivatives of the optimum by the implicit function theorem.

With D_ij = exp(f_i + g_j + s − c_ij), R_i = Σ_j β_j D_ij and C_j = Σ_i α_i D_ij, the optimum solves

    R_i + β_d exp(f_i) = 1,        C_j + α_d exp(g_j) = 1,        Σ_ij α_i β_j D_ij = μ,

in which dummies (α_d, β_d) are known vectors and only real nodes and the mass are unknown: however small the mass,
nothing of its size is a difference of large numbers. For upstream derivatives u, w, t of f, g, s the adjoint system is

    λ + α ∘ (D μ + R σ) = u,        μ + β ∘ (Dᵀ λ + C σ) = w,        R·λ + C·μ + mass σ = t,

and the derivatives are −(D μ + R σ) for α, −(Dᵀ λ + C σ) for β, −exp(f)·λ for β_d, −exp(g)·μ for α_d, σ for the mass
and D_ij (λ_i β_j + μ_j α_i + α_i β_j σ) for c_ij. Nothing is divided by a weight, so nodes of weight 0 need no care.
Eliminating λ and writing μ = √β x, σ = y/√mass leaves a symmetric positive semidefinite system, solved by conjugate
gradients; its products Dᵀ (α ∘ D x) read the matrix once. Where a side has no dummy, the mass equation repeats the
others and is left out; where neither has one, √β is the null vector, the constant that may be added to f and taken
from g, and is projected out.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from partialot.augmentation import BorderedProblem, RealPotentials
from partialot.errors import ConvergenceWarning
from partialot.gradients.base import Answer, Gradient, answer_by_envelope, pull_back
from partialot.gradients.conjugate_gradient import LinearSolution, conjugate_gradient
from partialot.gradients.envelope import Envelope
from partialot.gradients.plan import attach_plan
from partialot.kernels import dispatch
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
        if not solver.entropic:
            return Envelope().attach(problem, bordered, solver, result)
        tol = {torch.float32: 1e-6, torch.float64: 1e-12}[problem.a.dtype] if self.tol is None else self.tol
        known = bordered.real_potentials(result.f, result.g)
        lazy = problem.geometry.is_lazy
        prices = problem.geometry.tensors if lazy else (problem.flat_cost(slice(None)),)
        inputs = (bordered.a, bordered.b, bordered.mass, bordered.scale, *prices)
        optimal = cast(
            "tuple[Tensor, Tensor, Tensor]",
            _Optimum.apply(bordered, (tol, self.max_iter), *known, *inputs),  # pyright: ignore[reportUnknownMemberType]
        )
        potentials = RealPotentials(*optimal)
        plan = None if result.plan is None else attach_plan(bordered, result.plan, potentials)
        return answer_by_envelope(bordered, potentials, result, plan, entropic=True)


class _Optimum(torch.autograd.Function):
    """Potentials as a function of weights, mass, scale and whatever the prices are a function of."""

    @staticmethod
    def forward(
        ctx: Any,
        bordered: BorderedProblem,
        settings: tuple[float, int],
        f: Tensor,
        g: Tensor,
        level: Tensor,
        *inputs: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.bordered, ctx.settings, ctx.count = bordered, settings, len(inputs) - 4
        ctx.save_for_backward(f, g, level)
        return f.clone(), g.clone(), level.clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - `once_differentiable` has no types
        ctx: Any, *upstream: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        # `value` knows its derivatives, so its backward pass arrives here with nothing to do.
        if all(part is None for part in upstream):
            return (None,) * (9 + ctx.count)
        potentials = RealPotentials(*ctx.saved_tensors)
        given = [torch.zeros_like(x) if part is None else part for x, part in zip(potentials, upstream, strict=True)]
        bordered: BorderedProblem = ctx.bordered
        with torch.autocast(bordered.a.device.type, enabled=False):
            system = AdjointSystem(bordered, potentials)
            tol, max_iter = ctx.settings
            of_f, of_g, of_mass = system.solve(*given, tol=tol, max_iter=max_iter)
            of_a, of_b = system.of_weights(of_f, of_g, of_mass)
            of_scale, of_prices = None, (None,) * ctx.count
            if any(ctx.needs_input_grad[8:]):
                wanted = any(ctx.needs_input_grad[9:])
                of_scale, of_prices = system.of_prices(of_f, of_g, of_mass, ctx.count if wanted else 0)
                of_prices = of_prices or (None,) * ctx.count
        return None, None, None, None, None, of_a, of_b, of_mass.squeeze(-1), of_scale, *of_prices


class AdjointSystem:
    """The adjoint system at one optimum, in the notation of the module; D is stored unless the prices are lazy."""

    def __init__(self, bordered: BorderedProblem, potentials: RealPotentials) -> None:
        self.bordered, self.potentials = bordered, potentials
        lazy = bordered.problem.geometry.is_lazy
        self._matrix = None if lazy else bordered.density(potentials, slice(None))
        alpha, beta = bordered.a.detach(), bordered.b.detach()
        dummies = (alpha[:, -1:] > 0, beta[:, -1:] > 0)
        self.a, self.b = alpha[:, :-1], beta[:, :-1]
        mass = bordered.mass.detach().unsqueeze(-1)
        self.carries = (dummies[0] & dummies[1] & (mass > 0)).to(mass.dtype)
        self.free = (~dummies[0] & ~dummies[1]).to(mass.dtype)
        self.mass = mass.clamp(min=torch.finfo(mass.dtype).tiny)
        self.rows, self.link = self.sandwich(self.b, -self.a, self.a)
        self.columns = self.sandwich(torch.zeros_like(self.b), self.a, self.a)[1]

    def blocks(self) -> Iterator[tuple[slice, Float[Tensor, "batch rows m"]]]:
        """Give D, by blocks of rows."""
        if self._matrix is not None:
            yield slice(None), self._matrix
            return
        for rows in self.bordered.row_blocks():
            yield rows, self.bordered.density(self.potentials, rows)

    def sandwich(self, x: Tensor, scale: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
        """Give y = D x and Dᵀ (scale ∘ y + offset)."""
        y, z = torch.empty_like(offset), torch.zeros_like(x)
        for rows, block in self.blocks():
            y[:, rows], part = dispatch.sandwich(block, x, scale[:, rows], offset[:, rows])
            z = z + part
        return y, z

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
        root, part = self.b.sqrt(), self.b > 0
        unit = self.carries / self.mass.sqrt()
        # Targets of weight 0 obey their equation alone: μ = w.
        alone = torch.where(part, 0.0, of_g)
        right = torch.where(part, of_g / torch.where(part, root, 1.0), 0.0)
        right = right + root * self.sandwich(alone, self.a, -of_f)[1]
        right_mass = of_mass - ((self.rows * of_f).sum(-1) + (self.link * alone).sum(-1)).unsqueeze(-1)
        corner = 1 - unit.square() * (self.a * self.rows.square()).sum(-1, keepdim=True)
        constant = torch.cat((root * self.free, torch.zeros_like(unit)), dim=-1)
        constant = constant / constant.square().sum(-1, keepdim=True).sqrt().clamp(min=torch.finfo(root.dtype).tiny)
        nothing = torch.zeros_like(self.a)

        def project(x: Tensor) -> Tensor:
            return x - constant * (constant * x).sum(-1, keepdim=True)

        def schur(x: Tensor) -> Tensor:
            nodes, level = x[:, :-1], x[:, -1:]
            coupled = self.sandwich(root * nodes, self.a, nothing)[1] - self.link * unit * level
            of_nodes = torch.where(part, nodes - root * coupled, nodes)
            of_level = unit * (root * self.link * nodes).sum(-1, keepdim=True) + corner * level
            return project(torch.cat((of_nodes, of_level), dim=-1))

        diagonal = torch.cat((1 - self.b * self._weighted_squares(), corner), dim=-1).clamp(min=1e-3)
        right = project(torch.cat((right, unit * right_mass), dim=-1))
        solution = conjugate_gradient(schur, right, diagonal, tol=tol, max_iter=max_iter)
        _warn_of_residual(solution, tol)
        of_g, of_mass = alone + root * solution.x[:, :-1], unit * solution.x[:, -1:]
        return of_f - self.a * (self.sandwich(of_g, nothing, nothing)[0] + self.rows * of_mass), of_g, of_mass

    def of_weights(self, of_f: Tensor, of_g: Tensor, of_mass: Tensor) -> tuple[Tensor, Tensor]:
        """Give the derivatives by the bordered weights."""
        sent, received = self.sandwich(of_g, torch.zeros_like(self.a), of_f)
        f, g, _ = self.potentials
        of_dummies = [-(bounded_exp(here) * there).sum(-1, keepdim=True) for here, there in ((g, of_g), (f, of_f))]
        of_a, of_b = -(sent + self.rows * of_mass), -(received + self.columns * of_mass)
        return torch.cat((of_a, of_dummies[0]), dim=-1), torch.cat((of_b, of_dummies[1]), dim=-1)

    def of_prices(
        self, of_f: Tensor, of_g: Tensor, of_mass: Tensor, count: int
    ) -> tuple[Float[Tensor, " batch"], tuple[Tensor | None, ...]]:
        """Give the derivatives by the scale and by what the prices are a function of; D is used up.

        Args:
            of_f: λ.
            of_g: μ.
            of_mass: σ.
            count: How many tensors the prices are a function of; 0 = their derivatives are not wanted.
        """
        left = torch.stack((of_f + self.a * of_mass, self.a), dim=-1)
        right = torch.stack((self.b, of_g), dim=-2)
        of_scale, of_tensors = torch.zeros_like(self.mass.squeeze(-1)), None
        scale = self.bordered.scale.detach()
        for rows, block in self.blocks():
            _weigh(block, left[:, rows].to(block.dtype), right.to(block.dtype))
            of_scale = of_scale - self.bordered.spent(block, rows) / scale
            if count:
                block.div_(scale.to(block.dtype)[:, None, None])
                of_tensors = pull_back(self.bordered, rows, block, of_tensors)
        self._matrix = None
        return of_scale, of_tensors or (None,) * count

    def _weighted_squares(self) -> Float[Tensor, "batch m"]:
        """Give Σ_i α_i D_ij²."""
        total = torch.zeros_like(self.b)
        for rows, block in self.blocks():
            # Weighed before they are squared: the density of two nodes of weight 0 may be as large as a number can be.
            root = self.a[:, rows].to(block.dtype).sqrt().unsqueeze(-1)
            for part in _parts(block):
                total += (root[:, part] * block[:, part]).square().sum(-2)
        return total


def _weigh(block: Tensor, left: Tensor, right: Tensor) -> None:
    """Multiply a block with a matrix of rank 2 in place."""
    for part in _parts(block):
        block[:, part] *= torch.bmm(left[:, part], right)


def _parts(block: Tensor) -> Iterator[slice]:
    """Cut the rows of a block so that temporaries stay in a cache."""
    step = max(1, (1 << 19) // max(1, block.shape[0] * block.shape[2]))
    return (slice(start, start + step) for start in range(0, block.shape[1], step))


def _warn_of_residual(solution: LinearSolution, tol: float) -> None:
    worst = float(solution.residual.max()) if solution.residual.numel() else 0.0
    if worst > 100 * tol:
        warnings.warn(
            f"The adjoint system should be solved to a relative residual of {tol:.1g}. It stopped at {worst:.1g} after "
            f"{int(solution.n_iter.max())} products. Raise `Implicit(max_iter=…)` or `reg`, or work in float64.",
            ConvergenceWarning,
            stacklevel=3,
        )
