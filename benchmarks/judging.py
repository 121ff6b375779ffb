"""When a plan counts as an answer, and how far a solver must go until its plan is one."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from workload import Workload

ELSEWHERE = 0.05
"""Distance from the optimal plan, over the mass, from which on a plan that keeps its marginals is another one: what is
left of the iteration's error at a violation of 1e-3 is a tenth of it in the slowest problems that are compared."""


class Verdict(NamedTuple):
    """What an answer is worth.

    Attributes:
        violation: Of its constraints, over the mass.
        distance: From the optimum, over the mass; NaN where none is at hand.
        fault: What makes it none; None = it is an answer.
    """

    violation: float
    distance: float
    fault: str | None


def violation(plan: Tensor, workload: Workload) -> float:
    """What exceeds the weights of the rows, of the columns, and the error of the mass, over the mass; the worst."""
    plan = plan.double()
    weight = 1.0 / workload.nodes
    rows, columns = ((plan.sum(side) - weight).clamp(min=0).sum(-1) for side in (-1, -2))
    return torch.stack([rows, columns, _wrong_mass(plan, workload)]).max().item() / workload.moved


def distance(plan: Tensor, optimum: Tensor, workload: Workload) -> float:
    """Largest sum of absolute differences from the optimal plan, over the mass."""
    return (plan.double() - optimum).abs().sum((-2, -1)).max().item() / workload.moved


def find_fault(plan: Tensor, optimum: Tensor | None, workload: Workload) -> str | None:
    """Say what is wrong with a plan; None = it is an answer.

    Args:
        plan: (batch, nodes, nodes).
        optimum: In float64; None where none is at hand, and its constraints alone judge the plan.
        workload: What it should solve.
    """
    if not plan.isfinite().all():
        return "NaN or inf"
    wrong = _wrong_mass(plan.double(), workload).max().item() / workload.moved
    if wrong > workload.error:
        return f"mass wrong by {wrong:.2g}"
    if (reached := violation(plan, workload)) > workload.error:
        return f"violation {reached:.2g}"
    if optimum is not None and (away := distance(plan, optimum, workload)) > ELSEWHERE:
        return f"another plan: {away:.2g} of its mass lies elsewhere"
    return None


def find_fewest(reaches: Callable[[int], bool], guess: int, limit: int) -> int | None:
    """Fewest iterations that reach something, to a tenth; None where `limit` does not.

    Args:
        reaches: Whether so many do.
        guess: Where the search begins, at most `limit`.
        limit: Most iterations that are tried.
    """
    low, high = 0, guess
    if reaches(guess):
        low = 9 * guess // 10
        while low and reaches(low):
            low, high = low // 2, low
    else:
        while high < limit:
            low, high = high, min(2 * high, limit)
            if reaches(high):
                break
        else:
            return None
    while high - low > max(1, high // 10):
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high


def _wrong_mass(plan: Tensor, workload: Workload) -> Tensor:
    return (plan.sum((-2, -1)) - workload.moved).abs()
