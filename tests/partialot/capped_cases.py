"""Problems of the capped formulation, and its call."""

from dataclasses import replace
from math import inf

import torch
from torch import Tensor

import partialot
from tests.partialot.problems import NamedProblem, random_problem
from tests.partialot.properties import SINKHORN

PLAIN = random_problem(n=3, m=4, reg=0.2)
BLOCKED = replace(
    PLAIN, name="forbidden", cost=PLAIN.cost.index_put((torch.tensor(0), torch.tensor(2)), torch.tensor(inf).double())
)
NEARLY_ALL = replace(PLAIN, name="nearly_all", mass=0.95)


def capped(problem: NamedProblem, **changes: Tensor | float | partialot.Solution) -> partialot.Solution:
    given = {"a": problem.a, "b": problem.b, "mass": problem.mass, "reg": problem.reg, "cost": problem.cost}
    arguments = {"solver": SINKHORN} | given | changes
    return partialot.solve(arguments.pop("cost"), **arguments, formulation="capped")  # pyright: ignore[reportArgumentType]
