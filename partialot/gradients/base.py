"""What a gradient mode is, and what they share: the derivatives of the value.

At the optimum the value V is a maximum over potentials, so its derivatives are those of the dual objective at fixed
potentials (Danskin): ∂V/∂C = P, ∂V/∂a = f + g_d, ∂V/∂b = g + f_d, ∂V/∂M = −(f_d + g_d), ∂V/∂reg = KL. All hold for the
exact linear programme too, as subgradients.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.augmentation import BorderedProblem, Duals, RealPotentials, restrict_potentials
from partialot.errors import NotDifferentiableError
from partialot.problem import Problem
from partialot.solvers import Solver, SolverResult


@dataclass(frozen=True, eq=False)
class Answer:
    """A flat batch of plans and values in the user's units, with whatever graph the gradient mode gives them.

    Attributes:
        plan: What moves from source i to target j.
        value: The objective.
        f: Potentials of the sources in units of the cost, in the gauge where the dummy target's is 0.
        g: Potentials of the targets.
        mass_price: ∂value/∂mass.
    """

    plan: Float[Tensor, "batch n m"]
    value: Float[Tensor, " batch"]
    f: Float[Tensor, "batch n"]
    g: Float[Tensor, "batch m"]
    mass_price: Float[Tensor, " batch"]


class Gradient(ABC):
    """Gives a solver's result the graph through which derivatives flow."""

    @abstractmethod
    def attach(self, problem: Problem, bordered: BorderedProblem, solver: Solver, result: SolverResult) -> Answer:
        """Connect the result to the inputs.

        Args:
            problem: The inputs, as the user's tensors reach them.
            bordered: The same as a bordered balanced problem.
            solver: What found the result.
            result: Potentials without a graph.
        """


def dual_objective(problem: Problem, bordered: BorderedProblem, potentials: RealPotentials, plan: Tensor) -> Tensor:
    """Give the objective of the entropic dual, which errs by the square of the constraint violation only.

    By Euler's theorem it is the sum of each derivative times its input; the surplus, 0 at the optimum, corrects for
    plans that are not yet couplings.
    """
    scale, total = (x.to(plan.dtype) for x in (bordered.scale, bordered.total))
    return _euler_sum(problem, restrict_potentials(problem, bordered, potentials)) - scale * total * bordered.surplus(
        potentials, plan
    )


def answer_by_envelope(
    problem: Problem, bordered: BorderedProblem, potentials: RealPotentials, plan: Tensor, *, entropic: bool
) -> Answer:
    """Put the value together from potentials and plan, its derivatives those of the envelope theorem.

    Args:
        problem: The inputs.
        bordered: The same in the solver's units.
        potentials: At the optimum; their graph, if any, becomes the second derivative of the value.
        plan: The plan in the user's units; its graph likewise.
        entropic: Whether the value contains the entropy.
    """
    duals = restrict_potentials(problem, bordered, potentials)
    linear, of_reg = bordered.linear_value(problem, plan), None
    number = linear
    if entropic:
        number = dual_objective(problem, bordered, potentials, plan)
        of_reg = (_euler_sum(problem, duals) - linear) / bordered.scale.to(plan.dtype)
    value = attach_derivatives(problem, number.detach(), plan, (duals.of_a, duals.of_b, duals.of_mass, of_reg))
    return Answer(plan, value, duals.of_a, duals.g, duals.mass_price)


def _euler_sum(problem: Problem, duals: Duals) -> Tensor:
    a, b = problem.a.reshape(duals.of_a.shape), problem.b.reshape(duals.of_b.shape)
    mass = torch.zeros_like(duals.of_mass) if problem.mass is None else problem.mass.reshape(duals.of_mass.shape)
    return (a * duals.of_a).sum(-1) + (b * duals.of_b).sum(-1) + mass * duals.of_mass


def attach_derivatives(
    problem: Problem, number: Tensor, plan: Tensor, slopes: tuple[Tensor, Tensor, Tensor, Tensor | None]
) -> Float[Tensor, " batch"]:
    """Give a number the derivatives it is known to have; their own graphs are its second derivatives."""
    count = number.shape[0]
    of_a, of_b, of_mass, of_reg = slopes
    pairs = [(problem.cost().reshape(plan.shape), plan)]
    pairs += [(problem.a.reshape(of_a.shape), of_a), (problem.b.reshape(of_b.shape), of_b)]
    if problem.mass is not None:
        pairs.append((problem.mass.reshape(count), of_mass))
    if problem.reg is not None and of_reg is not None:
        pairs.append((problem.reg.reshape(count), of_reg))
    inputs, derivatives = zip(*pairs, strict=True)
    known = number, len(inputs), *inputs, *derivatives
    return cast(Tensor, _KnownDerivatives.apply(*known))  # pyright: ignore[reportUnknownMemberType]


class _KnownDerivatives(torch.autograd.Function):
    """A number whose derivative with respect to each input is given."""

    @staticmethod
    def forward(ctx: Any, number: Tensor, count: int, *tensors: Tensor) -> Tensor:
        ctx.count = count
        ctx.save_for_backward(*tensors[count:])
        return number.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (upstream,) = gradients
        needed = ctx.needs_input_grad[2 : 2 + ctx.count]
        flowing = (
            upstream.reshape(-1, *(1,) * (slope.ndim - 1)) * slope if need else None
            for slope, need in zip(ctx.saved_tensors, needed, strict=True)
        )
        return (None, None, *flowing, *(None,) * ctx.count)


class _Refusal(torch.autograd.Function):
    """Passes a tensor on whose derivative does not exist in the chosen mode, and says so to whoever asks for it."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, *inputs: Tensor) -> Tensor:
        """Copy; the inputs make the result require a gradient when they do."""
        ctx.set_materialize_grads(False)
        return tensor.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[None, ...]:
        """Say what is differentiable instead; autograd also visits nodes of which it needs nothing."""
        if gradients[0] is None:
            return (None,) * len(ctx.needs_input_grad)
        raise NotDifferentiableError(
            "Only `value` has derivatives, and first ones only, when `gradient=Envelope()` or `reg=None`. Found one "
            "asked of the plan, of the potentials or of what depends on them. Pass `reg` and `gradient=Implicit()`."
        )


def refuse(tensor: Tensor, problem: Problem) -> Tensor:
    """Give back `tensor` so that differentiating it with respect to the problem's inputs raises."""
    inputs = [problem.cost(), problem.a, problem.b]
    inputs += [x for x in (problem.mass, problem.reg) if x is not None]
    return cast(Tensor, _Refusal.apply(tensor, *inputs))  # pyright: ignore[reportUnknownMemberType]
