"""`solve`: the whole pipeline, stage by stage."""

import warnings
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.arrays import FloatArray
from partialot.augmentation import BorderedProblem, add_dummy_nodes
from partialot.duals import from_user_units, to_user_units
from partialot.errors import ConvergenceWarning
from partialot.geometry import Geometry, ShardedRows
from partialot.gradients import Answer, Gradient, Implicit, Unrolled
from partialot.inputs import Formulation, Price, checks_its_inputs
from partialot.problem import Problem
from partialot.solution import Known, Solution
from partialot.solvers import ExactLP, Sinkhorn, Solver, SolverResult, Status
from partialot.transforms import Inputs, as_one_operation

_KINDS = {
    "solver": "a Solver such as Sinkhorn() or ExactLP()",
    "gradient": "a Gradient such as Implicit(), Unrolled() or Envelope()",
    "init": "a Solution",
}


@checks_its_inputs
def solve(
    cost: Float[Tensor, "*batch n m"] | FloatArray | Geometry,
    a: Float[Tensor, "*#batch n"] | FloatArray | None = None,
    b: Float[Tensor, "*#batch m"] | FloatArray | None = None,
    *,
    mass: float | Float[Tensor, "*#batch"] | FloatArray | Price | None = None,
    reg: float | Float[Tensor, "*#batch"] | FloatArray | None = None,
    solver: Solver | None = None,
    formulation: Formulation = "dummy",
    gradient: Gradient = Implicit(),  # noqa: B008 - frozen
    init: Solution | None = None,
) -> Solution:
    """Find a cheapest plan that moves `mass` from `a` to `b`.

    Without `reg`: minimises ⟨C, P⟩ over P ≥ 0 with P1 ≤ a, Pᵀ1 ≤ b and 1ᵀP1 = M; with `mass=None` both inequalities are
    equalities (balanced transport). With `reg`: adds reg · KL(P̃ ‖ Ã⊗B̃/T) over the problem with one dummy node on each
    side that takes up what is not moved (see `augment`); or, capped, reg · Σ_ij P_ij (log P_ij − 1) of the plan alone.
    Leading dimensions of all inputs broadcast and are independent problems.

    Args:
        cost: Price of moving one unit of mass from source i to target j; any sign, any unit; `inf` forbids the pair.
        a: Mass at each source node, at least 0, any total. A node of weight 0 takes no part. Default: uniform, total 1.
        b: Mass at each target node, likewise.
        mass: Total to move, in the units of `a` and `b` (not a fraction), from 0 to the smaller total; sums may differ
            by some ulps. None moves everything and needs equal totals. `Price(p)` in place of a mass moves what pays:
            minimises ⟨C − p, P⟩ under the same inequalities; with `reg`, both dummy nodes then hold as much as the
            whole other side and may keep it between them at no price (the dustbins of SuperGlue are such a price).
        reg: Entropic regularisation in units of the cost; None solves the linear programme exactly.
        solver: How to solve; None takes `Sinkhorn()` with `reg` and `ExactLP()` without.
        formulation: What `reg` regularises: "dummy", the plan and what stays behind, whose optimum does not depend on
            the unit of mass; or "capped", the plan alone, as POT's `entropic_partial_wasserstein`. Both have the
            linear programme as limit; only partial problems with `reg` have a choice.
        gradient: How derivatives of plan and value reach the inputs.
        init: A solution of a problem of the same shape, from whose potentials to start: the same answer, in fewer
            sweeps where that problem was solved with a like `reg`.

    Returns:
        The plan with its value, potentials and state of convergence; `certificate()` bounds its distance from the
        exact optimum.

    Raises:
        InfeasibleProblemError: More mass is asked for than there is or than allowed pairs can carry, or totals differ.
        ValueError: Shapes, signs or settings do not fit.
        TypeError: An input is no floating-point tensor, or of another dtype or device than the cost.

    Example:
        >>> import torch, partialot
        >>> cost = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> weights = torch.tensor([0.5, 0.5])
        >>> round(partialot.solve(cost, weights, weights, mass=0.6).mass.item(), 6)
        0.6

    References:
        Benamou, Carlier, Cuturi, Nenna and Peyré (2015), Iterative Bregman projections, section 5: capped.
        Caffarelli and McCann (2010), Free boundaries in optimal transport and Monge-Ampère obstacle problems.
        Chapel, Alaya and Gasso (2020), Partial optimal transport with applications on positive-unlabeled learning.
        Cuturi (2013), Sinkhorn distances: lightspeed computation of optimal transport.
        Sarlin, DeTone, Malisiewicz and Rabinovich (2020), SuperGlue: learning feature matching with graph neural
        networks, section 3.3: dustbins.
    """
    duals = init.duals if isinstance(init, Solution) else None
    stages = partial(_solve, solver=solver, formulation=formulation, gradient=gradient, init=init)
    return as_one_operation(stages, Inputs(cost, a, b, mass, reg, duals))


@checks_its_inputs
def _solve(
    inputs: Inputs, solver: Solver | None, formulation: Formulation, gradient: Gradient, init: Solution | None
) -> Solution:
    """Go through the stages, with tensors whose values can be read."""
    cost, a, b, mass, reg, duals = inputs
    problem = Problem.from_inputs(cost, a, b, mass=mass, reg=reg, formulation=formulation)
    with problem.ranks.together():
        _check_options(solver, gradient, init, problem)
        _check_start(duals, problem)
        solver = gradient.prepare(_choose(solver, problem))
        _check_sharding(problem, solver, gradient)
    problem.ranks.require_same(
        {"formulation": formulation, "solver": solver, "gradient": gradient, "init": init is not None}
    )
    # Autocast would compute some products in half precision.
    with torch.autocast(problem.a.device.type, enabled=False):
        bordered = add_dummy_nodes(problem)
        start = _starting_potentials(duals, problem, bordered)
        result = solver.run(bordered, start)
        answer = gradient.attach(problem, bordered, solver, result)
    _warn_unless_converged(result, solver)
    return _shape(problem, bordered, result, answer)


def _choose(solver: Solver | None, problem: Problem) -> Solver:
    if solver is None:
        return ExactLP() if problem.reg is None else Sinkhorn()
    if solver.entropic == (problem.reg is None):
        found = "no `reg`" if problem.reg is None else "a `reg`"
        raise ValueError(
            f"`Sinkhorn` must have a `reg`, `ExactLP` none. Found {type(solver).__name__} and {found}. "
            "Pass or leave out `reg`, or leave out `solver`."
        )
    return solver


def _check_options(solver: object, gradient: object, init: object, problem: Problem) -> None:
    options = (("solver", solver, Solver | None), ("gradient", gradient, Gradient), ("init", init, Solution | None))
    for name, value, kind in options:
        if not isinstance(value, kind):
            raise TypeError(
                f"`{name}` must be {_KINDS[name]}. Found {value!r}. Pass an instance, or leave `{name}` out."
            )
    special = problem.formulation == "capped" or problem.price is not None
    if special and isinstance(gradient, Unrolled):
        found = "a `Price`" if problem.price is not None else "`formulation='capped'`"
        raise ValueError(
            f"`gradient=Unrolled()` must have a mass and the formulation with dummy nodes. Found {found}. "
            "Pass `gradient=Implicit()`."
        )
    if init is not None and isinstance(gradient, Unrolled):
        raise ValueError(
            "`gradient=Unrolled()` must start from scratch: derivatives do not flow through `init`. Found an `init`. "
            "Leave it out, or pass `gradient=Implicit()`."
        )


def _check_sharding(problem: Problem, solver: Solver, gradient: Gradient) -> None:
    if not isinstance(problem.geometry, ShardedRows):
        return
    found = None if solver.entropic else "`reg=None`"
    found = f"`formulation={problem.formulation!r}`" if problem.formulation != "dummy" else found
    found = "a `Price`" if problem.price is not None else found
    found = "`gradient=Unrolled()`" if isinstance(gradient, Unrolled) else found
    if found is not None:
        raise ValueError(
            "Rows that are sharded must be solved with `reg`, without a price, with `formulation='dummy'` and with "
            f"`gradient=Implicit()` or `Envelope()`. Found {found}. Pass those, or gather the costs on one rank and "
            "solve there."
        )


def _check_start(duals: tuple[Tensor, Tensor] | None, problem: Problem) -> None:
    if duals is None:
        return
    f, g = duals
    expected = ((*problem.batch_shape, problem.size[0] + 1), (*problem.batch_shape, problem.size[1] + 1))
    if (f.shape, g.shape) != expected:
        raise ValueError(
            f"`init` must solve a problem of the same shape. Found one of batch {tuple(f.shape[:-1])} and size "
            f"{(f.shape[-1] - 1, g.shape[-1] - 1)} for batch {tuple(problem.batch_shape)} and size {problem.size}. "
            "Pass a solution of this batch, or leave `init` out."
        )


def _starting_potentials(
    duals: tuple[Tensor, Tensor] | None, problem: Problem, bordered: BorderedProblem
) -> tuple[Tensor, Tensor] | None:
    if duals is None:
        return None
    f, g = (side.detach() for side in duals)
    count = problem.batch_shape.numel()
    return from_user_units(bordered, f.reshape(count, f.shape[-1]), g.reshape(count, g.shape[-1]))


def _warn_unless_converged(result: SolverResult, solver: Solver) -> None:
    late = result.status != Status.CONVERGED
    if result.shortfall:
        warnings.warn(result.shortfall, ConvergenceWarning, stacklevel=3)
        return
    if bool(late.any()):
        floor = int((result.status == Status.PRECISION_FLOOR).sum())
        remedy = (
            "Solve in float64, or raise `tol` or `reg`."
            if floor
            else "Raise `max_iter`, `tol` or `reg`, or allow more pairs."
        )
        if not solver.entropic:
            remedy = "Raise `max_iter`."
        warnings.warn(
            f"The constraint violation should fall to `tol`. Found {float(result.error[late].max()):.3g} of the mass "
            f"in the worst of {int(late.sum())} of {late.numel()} problems, {floor} at the rounding error. {remedy}",
            ConvergenceWarning,
            stacklevel=7,
        )


def _shape(problem: Problem, bordered: BorderedProblem, result: SolverResult, answer: Answer) -> Solution:
    """Give everything its batch shape and the user's dtype back."""
    batch, dtype = problem.batch_shape, problem.dtype
    f, g = to_user_units(bordered, result.f, result.g)

    def restore(flat: Tensor) -> Tensor:
        return flat.reshape((*batch, *flat.shape[1:]))

    return Solution(
        problem=problem,
        value=restore(answer.value).to(dtype),
        mass_price=restore(answer.mass_price).to(dtype),
        n_iter=restore(result.n_iter),
        status=restore(result.status),
        duals=(restore(f), restore(g)),
        known=Known(
            plan=None if answer.plan is None else restore(answer.plan).to(dtype),
            potentials=(restore(answer.f), restore(answer.g)),
            total=restore(bordered.total),
        ),
    )
