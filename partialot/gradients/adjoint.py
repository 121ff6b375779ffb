"""The linear system behind every derivative of the optimum.

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
from g, and is projected out. Where mass has a price, the equation of the mass is Σ_ij α_i β_j D_ij = μ exp(−s) with
μ = α_d β_d, so that mass σ becomes 2 mass σ and the derivative for μ is exp(−s) σ.

Capped problems have the same system without dummies, over the nodes whose constraint binds: R_i = 1 where the potential
is below its ceiling. The others' potentials are the ceilings −log α_i, constants but for α_i, and their equations are
left out: λ_i = 0, and the derivative for α_i is −u_i / α_i. Where a constraint binds with a price of 0, the plan has a
kink; the derivative is then that on the side where it does not bind.
"""

import logging
import warnings
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.augmentation import BorderedProblem
from partialot.errors import ConvergenceWarning
from partialot.gradients.density import on_the_way, pull_back
from partialot.gradients.plan import Direct, row_parts
from partialot.kernels import dispatch
from partialot.kernels.conjugate_gradient import LinearSolution, conjugate_gradient
from partialot.kernels.reference import bounded_exp
from partialot.potentials import RealPotentials

_log = logging.getLogger("partialot")


class AdjointSystem:
    """The adjoint system at one optimum, in the notation of the module.

    D is the plan over its weights, which is at hand. Where weights are 0 it is computed anew, and where prices are lazy
    at every product: between points on the way, else block by block.
    """

    def __init__(self, bordered: BorderedProblem, potentials: RealPotentials, plan: Tensor | None) -> None:
        self.bordered, self.potentials, self.ranks = bordered, potentials, bordered.problem.ranks
        alpha, beta = bordered.a.detach(), bordered.b.detach()
        self._matrix, self._left, self._right = plan, torch.ones_like(alpha[:, :-1]), torch.ones_like(beta[:, :-1])
        if plan is not None and bool((alpha[:, :-1] > 0).all()) and bool((beta[:, :-1] > 0).all()):
            self._left = 1 / (alpha[:, :-1] * bordered.total.detach().unsqueeze(-1))
            self._right = 1 / beta[:, :-1]
        elif plan is not None:
            self._matrix = bordered.density(potentials, slice(None))
        self._kernel = on_the_way(bordered, potentials) if plan is None else None
        self._bound, rooms = bordered.binding(potentials)
        self.a, self.b = alpha[:, :-1], beta[:, :-1]
        mass = bordered.mass.detach().unsqueeze(-1)
        if bordered.problem.price is not None:
            mass = bordered.corner(potentials).detach().unsqueeze(-1)
        self.carries = (rooms[0] & rooms[1] & (mass > 0)).to(mass.dtype)
        self.free = (~rooms[0] & ~rooms[1]).to(mass.dtype)
        self.mass = mass.clamp(min=torch.finfo(mass.dtype).tiny)
        self.bound_a, self.bound_b = self.a * self._bound[0], self.b * self._bound[1]
        self.rows, self.link = self.sandwich(self.b, -self.bound_a, self.a)
        self.columns = self.sandwich(torch.zeros_like(self.b), self.a, self.a)[1]

    def _blocks(self) -> Iterator[tuple[slice, Float[Tensor, "batch rows m"]]]:
        """Give what is D once its rows and columns are scaled by `_left` and `_right`, by blocks of rows."""
        if self._matrix is not None:
            yield slice(None), self._matrix
            return
        for rows in self.bordered.row_blocks():
            yield rows, self.bordered.density(self.potentials, rows)

    def sandwich(self, x: Tensor, scale: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
        """Give y = D x, of this rank's rows, and Dᵀ (scale ∘ y + offset)."""
        if self._kernel is not None:
            y = self._kernel.times(x.unsqueeze(-1))
            z = self._kernel.transposed.times(scale.unsqueeze(-1) * y + offset.unsqueeze(-1))
            return y.squeeze(-1), self.ranks.sum(z.squeeze(-1))
        y, z = torch.empty_like(offset), torch.zeros_like(x)
        left, right = self._left, self._right
        for rows, block in self._blocks():
            here = left[:, rows]
            product, part = dispatch.sandwich(block, right * x, scale[:, rows] * here.square(), offset[:, rows] * here)
            y[:, rows], z = here * product, z + part
        return y, self.ranks.sum(right * z)

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
        of_f, root, part = of_f * self._bound[0], self.bound_b.sqrt(), self.bound_b > 0
        unit = self.carries / self.mass.sqrt()
        # Targets of weight 0 obey their equation alone: μ = w.
        alone = torch.where(self.b > 0, 0.0, of_g)
        right = torch.where(part, of_g / torch.where(part, root, 1.0), 0.0)
        right = right + root * self.sandwich(alone, self.bound_a, -of_f)[1]
        from_rows = torch.stack((self.rows * of_f, self.bound_a * self.rows.square())).sum(-1, keepdim=True)
        from_rows = self.ranks.sum(from_rows)
        right_mass = of_mass - from_rows[0] - (self.link * alone).sum(-1, keepdim=True)
        # Where mass has a price, its equation has a second term that falls as the real block grows.
        terms = 1.0 if self.bordered.problem.price is None else 2.0
        corner = terms - unit.square() * from_rows[1]
        constant = torch.cat((root * self.free, torch.zeros_like(unit)), dim=-1)
        constant = constant / constant.square().sum(-1, keepdim=True).sqrt().clamp(min=torch.finfo(root.dtype).tiny)
        nothing = torch.zeros_like(self.a)

        def project(x: Tensor) -> Tensor:
            return x - constant * (constant * x).sum(-1, keepdim=True)

        def schur(x: Tensor) -> Tensor:
            nodes, level = x[:, :-1], x[:, -1:]
            coupled = self.sandwich(root * nodes, self.bound_a, nothing)[1] - self.link * unit * level
            of_nodes = torch.where(part, nodes - root * coupled, nodes)
            of_level = unit * (root * self.link * nodes).sum(-1, keepdim=True) + corner * level
            return project(torch.cat((of_nodes, of_level), dim=-1))

        diagonal = torch.cat((1 - self.bound_b * self._weighted_squares(), corner), dim=-1).clamp(min=1e-3)
        right = project(torch.cat((right, unit * right_mass), dim=-1))
        solution = conjugate_gradient(schur, right, diagonal, tol=tol, max_iter=max_iter, ranks=self.ranks)
        _report(solution, tol)
        of_g, of_mass = alone + root * solution.x[:, :-1], unit * solution.x[:, -1:]
        return of_f - self.bound_a * (self.sandwich(of_g, nothing, nothing)[0] + self.rows * of_mass), of_g, of_mass

    def of_weights(
        self, upstream: tuple[Tensor, Tensor], of_f: Tensor, of_g: Tensor, of_mass: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Give the derivatives by the bordered weights: this rank's part of those that all ranks hold.

        Args:
            upstream: u and w.
            of_f: λ.
            of_g: μ.
            of_mass: σ.
        """
        sent, received = self.sandwich(of_g, torch.zeros_like(self.a), of_f)
        of_a, of_b = -(sent + self.rows * of_mass), -(received + self.columns * of_mass)
        if self.bordered.problem.formulation == "capped":
            sides = zip(self._bound, (of_a, of_b), upstream, (self.a, self.b), strict=True)
            of_a, of_b = (
                torch.nn.functional.pad(torch.where(bound, part, -given / torch.where(bound, 1.0, weights)), (0, 1))
                for bound, part, given, weights in sides
            )
            return of_a, of_b
        f, g, _ = self.potentials
        of_dummies = [-(bounded_exp(here) * there).sum(-1, keepdim=True) for here, there in ((g, of_g), (f, of_f))]
        of_dummies[0], of_b = self.ranks.share(of_dummies[0]), self.ranks.share(of_b)
        return torch.cat((of_a, of_dummies[0]), dim=-1), torch.cat((of_b, of_dummies[1]), dim=-1)

    def of_prices(
        self, of_f: Tensor, of_g: Tensor, of_mass: Tensor, direct: Direct | None
    ) -> tuple[Float[Tensor, " batch"], tuple[Tensor, ...] | None]:
        """Give the derivatives by the scale and by what the prices are a function of.

        Args:
            of_f: λ.
            of_g: μ.
            of_mass: σ.
            direct: The plan and its upstream derivative, which reaches the prices directly too; None for no such one.
        """
        left = torch.stack((of_f + self.a * of_mass, self.a), dim=-1) * self._left.unsqueeze(-1)
        right = torch.stack((self.b, of_g), dim=-2) * self._right.unsqueeze(-2)
        of_scale, of_tensors = torch.zeros_like(self.mass.squeeze(-1)), None
        scale = self.bordered.scale.detach()
        if self._kernel is not None:
            rows, columns = left / scale[:, None, None], right.mT
            paid, *found = self._kernel.pull_back(rows, columns)
            if self.bordered.scale.requires_grad:
                amount = (rows * self._kernel.times(columns)).sum((-2, -1))
                of_scale = (self.bordered.shift * amount - paid) / scale
            return of_scale, tuple(found)
        for rows, block in self._blocks():
            of_cost = _weigh(block, left[:, rows] / scale[:, None, None], right, self._matrix, direct, scale)
            if self.bordered.scale.requires_grad:
                of_scale = of_scale - self.bordered.spent(of_cost, rows)
            of_tensors = pull_back(self.bordered, rows, of_cost, of_tensors)
        return of_scale, of_tensors

    def _weighted_squares(self) -> Float[Tensor, "batch m"]:
        """Give Σ_i α_i D_ij² over the sources that obey an equation."""
        if self._kernel is not None:
            return self.ranks.sum(self._kernel.squared.transposed.times(self.bound_a.unsqueeze(-1)).squeeze(-1))
        total = torch.zeros_like(self.b)
        for rows, block in self._blocks():
            # Weighed before they are squared: the density of two nodes of weight 0 may be as large as a number can be.
            root = (self.bound_a.sqrt() * self._left)[:, rows].to(block.dtype).unsqueeze(-1)
            for part in row_parts(block):
                total += (root[:, part] * block[:, part]).square_().sum(-2)
        return self.ranks.sum(total * self._right.square())


def _weigh(
    block: Tensor, left: Tensor, right: Tensor, matrix: Tensor | None, direct: Direct | None, scale: Tensor
) -> Tensor:
    """Multiply a block with a matrix of rank 2, and take off what the plan's own derivative is."""
    found = block if matrix is None else torch.empty_like(block)
    left, right, scale = left.to(block.dtype), right.to(block.dtype), scale.to(block.dtype)[:, None, None]
    for part in row_parts(block):
        weights = torch.bmm(left[:, part], right)
        if direct is not None and matrix is direct.plan:
            weights -= direct.upstream[:, part] / scale
        torch.mul(block[:, part], weights, out=found[:, part])
        if direct is not None and matrix is not direct.plan:
            found[:, part] -= direct.plan[:, part] * direct.upstream[:, part] / scale
    return found


def _report(solution: LinearSolution, tol: float) -> None:
    """Tell the log of "partialot" what residual is left, at its level DEBUG, and warn where that is too much."""
    worst = float(solution.residual.max()) if solution.residual.numel() else 0.0
    products = int(solution.n_iter.max()) if solution.n_iter.numel() else 0
    _log.debug("adjoint system: relative residual %.1e after %d products", worst, products)
    if worst > 100 * tol:
        warnings.warn(
            f"The adjoint system should be solved to a relative residual of {tol:.1g}. It stopped at {worst:.1g} after "
            f"{products} products. Raise `Implicit(max_iter=…)` or `reg`, or work in float64.",
            ConvergenceWarning,
            stacklevel=3,
        )
