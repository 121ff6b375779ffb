"""What the tests of derivatives differentiate: small problems, each input as a leaf, each gradient mode."""

from collections.abc import Callable
from dataclasses import replace
from math import inf

import torch
from torch import Tensor

import partialot
from tests.partialot.problems import NamedProblem, random_problem
from tests.partialot.properties import SINKHORN

MODES = {"Implicit": partialot.Implicit(), "Unrolled": partialot.Unrolled()}
"""The modes that differentiate the plan; a new one inherits every test here."""
ALL_MODES = MODES | {"Envelope": partialot.Envelope()}
INPUTS = ("cost", "a", "b", "mass", "reg")


def _problems() -> dict[str, NamedProblem]:
    plain = random_problem(n=3, m=4, reg=0.2)
    emptied, blocked = plain.a.clone(), plain.cost.clone()
    emptied[1], blocked[0, 2], blocked[2, 0] = 0.0, inf, inf
    return {
        "partial": plain,
        "little_mass": replace(plain, mass=1e-2),
        "zero_weight": replace(plain, a=emptied, mass=0.4),
        "forbidden": replace(plain, cost=blocked),
        "small_reg": replace(plain, reg=0.05),
        "negative_costs": replace(plain, cost=plain.cost - 1.0),
    }


PROBLEMS = _problems()


def inputs(problem: NamedProblem) -> dict[str, Tensor]:
    """The arguments of `solve` as float64 leaves."""
    assert problem.mass is not None
    numbers = (
        problem.cost,
        problem.a,
        problem.b,
        torch.tensor(problem.mass, dtype=torch.float64),
        torch.tensor(problem.reg, dtype=torch.float64),
    )
    return {name: number.detach().clone().requires_grad_() for name, number in zip(INPUTS, numbers, strict=True)}


def run(mode: str, arguments: dict[str, Tensor]) -> partialot.Solution:
    """Solve in a gradient mode."""
    others = {name: tensor for name, tensor in arguments.items() if name != "cost"}
    return partialot.solve(arguments["cost"], **others, solver=SINKHORN, gradient=ALL_MODES[mode])  # pyright: ignore[reportArgumentType]


def as_function(
    problem: NamedProblem, mode: str, wanted: str, output: str
) -> tuple[Callable[[Tensor], Tensor], tuple[Tensor]]:
    """An output of `solve` as a function of one input, and where to differentiate it: on what takes part.

    Forbidden pairs stay forbidden and nodes of weight 0 empty; their derivatives have tests of their own.
    """
    arguments = {name: tensor.detach() for name, tensor in inputs(problem).items()}
    whole = arguments[wanted]
    free = whole.isfinite() & (whole != 0)

    def function(varied: Tensor) -> Tensor:
        full = whole.masked_scatter(free, varied) if whole.ndim else varied
        return getattr(run(mode, arguments | {wanted: full}), output)

    return function, ((whole[free] if whole.ndim else whole).clone().requires_grad_(),)
