"""Derivatives of the optimum by the implicit function theorem: one linear system, whatever the number of sweeps."""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from partialot.augmentation import BorderedProblem
from partialot.gradients.adjoint import AdjointSystem
from partialot.gradients.base import Answer, Gradient, answer_by_envelope
from partialot.gradients.envelope import Envelope
from partialot.gradients.once import once
from partialot.gradients.plan import Direct
from partialot.kernels.reference import bounded_exp
from partialot.modes import ReverseMode
from partialot.potentials import RealPotentials
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
            in the backward pass tells the residual where it was missed; the log of "partialot" tells it always, at its
            level DEBUG.
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
        """Connect potentials and plan; see `Gradient.attach`."""
        if not solver.entropic:
            return Envelope().attach(problem, bordered, solver, result)
        tol = {torch.float32: 1e-6, torch.float64: 1e-12}[problem.a.dtype] if self.tol is None else self.tol
        known = bordered.real_potentials(result.f, result.g)
        lazy = problem.geometry.is_lazy
        prices = problem.geometry.tensors if lazy else (problem.flat_cost(slice(None)),)
        inputs = (bordered.a, bordered.b, bordered.mass, bordered.total, bordered.scale, *prices)
        f, g, level, plan = cast(
            "tuple[Tensor, Tensor, Tensor, Tensor | None]",
            _Optimum.apply(bordered, (tol, self.max_iter), result.plan, *known, *inputs),  # pyright: ignore[reportUnknownMemberType]
        )
        return answer_by_envelope(bordered, RealPotentials(f, g, level), result, plan, entropic=True)


class _Optimum(ReverseMode):
    """Potentials and plan as a function of weights, mass, total, scale and whatever the prices are a function of."""

    @staticmethod
    def forward(
        ctx: Any,
        bordered: BorderedProblem,
        settings: tuple[float, int],
        plan: Tensor | None,
        f: Tensor,
        g: Tensor,
        level: Tensor,
        *inputs: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        ctx.set_materialize_grads(False)
        ctx.bordered, ctx.settings, ctx.prices = bordered, settings, len(inputs) - 5
        # Saved, inputs are watched: changed in place before the backward pass, they raise.
        ctx.save_for_backward(plan, f, g, level, *inputs)
        return f.clone(), g.clone(), level.clone(), None if plan is None else plan.view_as(plan)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        # `value` knows its derivatives, so its backward pass arrives here with nothing to do.
        if all(part is None for part in upstream):
            return (None,) * (11 + ctx.prices)
        plan, f, g, level, *inputs = ctx.saved_tensors
        given = tuple(None if part is None else part.detach() for part in (plan, *upstream))
        potentials = RealPotentials(f.detach(), g.detach(), level.detach())
        with torch.no_grad():
            found = _Optimum._solve(ctx, given[0], potentials, given[1:])
        return once(found, (*inputs, *upstream))

    @staticmethod
    def _solve(
        ctx: Any, plan: Tensor | None, potentials: RealPotentials, upstream: tuple[Tensor | None, ...]
    ) -> tuple[Tensor | None, ...]:
        known, bordered = list(potentials), cast(BorderedProblem, ctx.bordered)
        ranks = bordered.problem.ranks
        given = [torch.zeros_like(x) if part is None else part for x, part in zip(known, upstream[:3], strict=True)]
        direct = None
        if plan is not None and upstream[3] is not None:
            direct = Direct.of(bordered, potentials, plan, upstream[3])
        if direct is not None:
            sums = direct.rows, direct.columns, direct.rows.sum(-1, keepdim=True)
            given = [here + there for here, there in zip(given, sums, strict=True)]
        with torch.autocast(bordered.a.device.type, enabled=False):
            system = AdjointSystem(bordered, potentials, plan)
            tol, max_iter = ctx.settings
            # Every rank has its copies of g and of the level, and differentiated by those.
            of_f, of_g, of_level = given[0], *(ranks.sum(part) for part in given[1:])
            solved = system.solve(of_f, of_g, of_level, tol=tol, max_iter=max_iter)
            of_a, of_b = system.of_weights((of_f, of_g), *solved)
            of_total = of_scale = of_prices = None
            if direct is not None:
                of_a, of_b = of_a + direct.of_a, of_b + direct.of_b
                of_total = direct.rows.sum(-1) / bordered.total.detach()
            if any(ctx.needs_input_grad[10:]):
                of_scale, of_prices = system.of_prices(*solved, direct)
        of_prices = of_prices or (None,) * ctx.prices
        of_mass = ranks.share(solved[2].squeeze(-1))
        if bordered.problem.price is not None:
            of_mass = of_mass * bounded_exp(-potentials.mass.squeeze(-1))
        return None, None, None, None, None, None, of_a, of_b, of_mass, of_total, of_scale, *of_prices
