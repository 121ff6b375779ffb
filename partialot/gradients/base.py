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

from partialot.augmentation import BorderedProblem
from partialot.duals import Duals, restrict_potentials
from partialot.gradients.density import lazy_plan, on_the_way, pull_back
from partialot.gradients.once import refused
from partialot.modes import ReverseMode
from partialot.potentials import RealPotentials
from partialot.problem import Problem
from partialot.solvers import Solver, SolverResult

_VALUE_ONLY = (
    "Only `value` has derivatives, and first ones only, when `gradient=Envelope()` or `reg=None`. Found one "
    "asked of the plan, of the potentials or of what depends on them. Pass `reg` and `gradient=Implicit()`."
)
_FIRST_ONLY = (
    "`value` has only first derivatives where no matrix of prices is stored. Found a second one asked for. "
    "Pass `PointCloud(…, storage='matrix')`."
)


@dataclass(frozen=True, eq=False)
class Answer:
    """A flat batch of plans and values in the user's units, with whatever graph the gradient mode gives them.

    Attributes:
        plan: What moves from source i to target j; None where the prices are lazy.
        value: The objective.
        f: Potentials of the sources in units of the cost, in the gauge where the dummy target's is 0.
        g: Potentials of the targets.
        mass_price: ∂value/∂mass.
    """

    plan: Float[Tensor, "batch n m"] | None
    value: Float[Tensor, " batch"]
    f: Float[Tensor, "batch n"]
    g: Float[Tensor, "batch m"]
    mass_price: Float[Tensor, " batch"]


class Gradient(ABC):
    """Gives a solver's result the graph through which derivatives flow."""

    def prepare(self, solver: Solver) -> Solver:
        """Give the solver in the form that this mode can differentiate; most take any."""
        return solver

    @abstractmethod
    def attach(self, problem: Problem, bordered: BorderedProblem, solver: Solver, result: SolverResult) -> Answer:
        """Connect the result to the inputs.

        Args:
            problem: The inputs, as the user's tensors reach them.
            bordered: The same as a bordered balanced problem.
            solver: What found the result.
            result: Potentials without a graph.
        """


def dual_objective(
    bordered: BorderedProblem, potentials: RealPotentials, moved: Float[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Give the objective of the entropic dual, which errs by the square of the constraint violation only.

    By Euler's theorem it is the sum of each derivative times its input; the surplus, 0 at the optimum, corrects for
    plans that are not yet couplings.
    """
    duals = restrict_potentials(bordered, potentials)
    return _euler_sum(bordered.problem, duals) - bordered.scale * bordered.total * bordered.surplus(potentials, moved)


def answer_by_envelope(
    bordered: BorderedProblem, potentials: RealPotentials, result: SolverResult, plan: Tensor | None, *, entropic: bool
) -> Answer:
    """Put the value together from potentials and plan, its derivatives those of the envelope theorem.

    Args:
        bordered: The problem.
        potentials: At the optimum; their graph, if any, becomes the second derivative of the value.
        result: What the solver found.
        plan: The plan in the user's units; its graph likewise. None where prices are lazy.
        entropic: Whether the value contains the entropy.
    """
    duals = restrict_potentials(bordered, potentials)
    problem, ranks, of_reg = bordered.problem, bordered.problem.ranks, None
    of_mass, paid = duals.of_mass, 0.0
    if problem.price is not None:
        of_mass = -(bordered.corner(potentials) * bordered.total if entropic else result.moved)
        paid = -of_mass * problem.price.reshape(of_mass.shape)
    if entropic:
        number = dual_objective(bordered, potentials, result.moved)
        if problem.reg is not None and problem.reg.requires_grad:
            linear = _linear_value(bordered, potentials, plan) - paid
            of_reg = (_euler_sum(problem, duals) - linear) / bordered.scale
            if problem.formulation == "capped" and problem.mass is not None:
                of_reg = of_reg - problem.mass.reshape(of_reg.shape)
            of_reg = ranks.share(of_reg)
    else:
        number = _linear_value(bordered, potentials, plan) - paid
    slopes = duals.of_a, ranks.share(duals.of_b), ranks.share(of_mass), of_reg
    value = attach_derivatives(bordered, ranks.share(number.detach()), plan, slopes)
    if plan is None:
        value = _LazyValue.apply(value, bordered, potentials, *problem.geometry.tensors)  # pyright: ignore
    return Answer(plan, ranks.sum(cast(Tensor, value)), duals.of_a, duals.g, duals.mass_price)


def _euler_sum(problem: Problem, duals: Duals) -> Tensor:
    a, b = problem.a.reshape(duals.of_a.shape), problem.b.reshape(duals.of_b.shape)
    mass = torch.zeros_like(duals.of_mass) if problem.mass is None else problem.mass.reshape(duals.of_mass.shape)
    return problem.ranks.sum((a * duals.of_a).sum(-1)) + (b * duals.of_b).sum(-1) + mass * duals.of_mass


def _linear_value(
    bordered: BorderedProblem, potentials: RealPotentials, plan: Tensor | None
) -> Float[Tensor, " batch"]:
    """Give ⟨cost, plan⟩ in the user's units, with the plan's graph where it has one."""
    if plan is None:
        kernel, ranks = on_the_way(bordered, potentials), bordered.problem.ranks
        if kernel is not None:
            return ranks.sum(kernel.paid(*_weights(bordered)))
        spent, moved = torch.zeros_like(bordered.shift), torch.zeros_like(bordered.shift)
        for rows in bordered.row_blocks():
            block = lazy_plan(bordered, potentials, rows)
            spent, moved = spent + bordered.spent(block, rows), moved + block.sum((-2, -1))
        return ranks.sum(spent * bordered.scale.detach() + moved * bordered.shift)
    cost = bordered.problem.flat_cost(slice(None))
    if bordered.problem.forbids:
        cost = cost.masked_fill(cost == torch.inf, 0.0)
    return bordered.problem.ranks.sum(torch.einsum("bij,bij->b", plan, cost).double())


def _weights(bordered: BorderedProblem) -> tuple[Float[Tensor, "batch n 1"], Float[Tensor, "batch m 1"]]:
    """Give what makes the plan of its density, of rows and of columns."""
    left = bordered.a.detach()[:, :-1] * bordered.total.detach().unsqueeze(-1)
    return left.unsqueeze(-1), bordered.b.detach()[:, :-1].unsqueeze(-1)


class _LazyValue(ReverseMode):
    """A value whose derivative by the prices is the plan, evaluated block by block in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, bordered: BorderedProblem, potentials: RealPotentials, *tensors: Tensor
    ) -> Tensor:
        ctx.bordered = bordered
        # Saved, features are watched: changed in place before the backward pass, they raise.
        ctx.save_for_backward(*(part.detach() for part in potentials), *tensors)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (upstream,) = gradients
        potentials, found = RealPotentials(*ctx.saved_tensors[:3]), None
        if any(ctx.needs_input_grad[3:]):
            found = _of_features(ctx.bordered, potentials, upstream.detach()[:, None, None])
        if found is not None and torch.is_grad_enabled():
            found = tuple(refuse(part, ctx.bordered.problem, _FIRST_ONLY) for part in found)
        return upstream, None, None, *(found or (None,) * (len(ctx.needs_input_grad) - 3))


@torch.no_grad()
def _of_features(
    bordered: BorderedProblem, potentials: RealPotentials, upstream: Float[Tensor, "batch 1 1"]
) -> tuple[Tensor, ...] | None:
    kernel, found = on_the_way(bordered, potentials), None
    if kernel is not None:
        left, right = _weights(bordered)
        return kernel.pull_back(left * upstream, right)[1:]
    for rows in bordered.row_blocks():
        block = lazy_plan(bordered, potentials, rows)
        found = pull_back(bordered, rows, block.mul_(upstream.to(block.dtype)), found)
    return found


def attach_derivatives(
    bordered: BorderedProblem,
    number: Tensor,
    plan: Tensor | None,
    slopes: tuple[Tensor, Tensor, Tensor, Tensor | None],
) -> Float[Tensor, " batch"]:
    """Give a number the derivatives it is known to have; their own graphs are its second derivatives."""
    problem, count = bordered.problem, number.shape[0]
    of_a, of_b, of_mass, of_reg = slopes
    pairs = [(problem.a.reshape(of_a.shape), of_a), (problem.b.reshape(of_b.shape), of_b)]
    if plan is not None:
        pairs.append((problem.flat_cost(slice(None)), plan))
    amount = problem.mass if problem.price is None else problem.price
    if amount is not None:
        pairs.append((amount.reshape(count), of_mass))
    if problem.reg is not None and of_reg is not None:
        pairs.append((problem.reg.reshape(count), of_reg))
    inputs, derivatives = zip(*pairs, strict=True)
    known = number, len(inputs), *inputs, *derivatives
    return cast(Tensor, _KnownDerivatives.apply(*known))  # pyright: ignore[reportUnknownMemberType]


class _KnownDerivatives(ReverseMode):
    """A number whose derivative with respect to each input is given."""

    @staticmethod
    def forward(ctx: Any, number: Tensor, count: int, *tensors: Tensor) -> Tensor:
        ctx.count, ctx.dtypes = count, [tensor.dtype for tensor in tensors[:count]]
        ctx.save_for_backward(*tensors[count:])
        return number.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (upstream,) = gradients
        needed = ctx.needs_input_grad[2 : 2 + ctx.count]
        flowing = (
            (upstream.reshape(-1, *(1,) * (slope.ndim - 1)).to(slope.dtype) * slope).to(dtype) if need else None
            for slope, need, dtype in zip(ctx.saved_tensors, needed, ctx.dtypes, strict=True)
        )
        return (None, None, *flowing, *(None,) * ctx.count)


def refuse(tensor: Tensor, problem: Problem, reason: str = _VALUE_ONLY) -> Tensor:
    """Give back `tensor` so that differentiating it with respect to the problem's inputs raises."""
    inputs = [*problem.geometry.tensors, problem.a, problem.b]
    inputs += [x for x in (problem.mass, problem.price, problem.reg) if x is not None]
    return refused(tensor, inputs, reason)
