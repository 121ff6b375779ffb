"""Over-relaxation of Sinkhorn's updates, its factor taken from the contraction seen so far.

Near the optimum Sinkhorn's sweeps are a block Gauss-Seidel iteration whose error falls by a factor η each. Going ω
times the way of every update makes it successive over-relaxation, whose best factor is ω = 2 / (1 + √(1 − η)), and
whose error then falls by ω − 1 each (Young 1954; Thibault, Chizat, Dossal and Papadakis 2017; Lehmann, von Renesse,
Sambale and Uschmajew 2021). η is not known: it is measured while ω = 1, and measured anew from Young's relation
(λ + ω − 1)² = λ ω² η while ω > 1. Far from the optimum over-relaxation can diverge; a problem whose error grows goes
back to where it was best and to ω = 1.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_WARM_UP = 4
"""Plain sweeps before the first measurement; doubled after every setback."""

_STEADY = 0.1
"""Two contractions differ by less than this part of what is left to 1 before they are believed."""

_WINDOW = 8
"""Sweeps over which a relaxed contraction is measured: the error oscillates where ω is large."""

_SETBACK = 3.0
"""Growth of the error over its best that ends a relaxed phase."""

_LARGEST = 1.98
"""ω stays below 2, where nothing converges."""


class Judgement(NamedTuple):
    """What the last errors say, problem by problem.

    Attributes:
        setback: Relaxed updates made things worse: go back to the potentials of the last anchor.
        anchored: The present potentials are such an anchor.
    """

    setback: Bool[Tensor, " batch"]
    anchored: Bool[Tensor, " batch"]


class Relaxation:
    """The factors ω of a batch of problems, each from its own errors.

    Attributes:
        omega: (batch,), what the next sweep uses.
    """

    def __init__(self, like: Float[Tensor, " batch"]) -> None:
        self.omega = torch.ones_like(like)
        self._patience = torch.full_like(like, _WARM_UP)
        self._age = torch.zeros_like(like)
        self._before, self._ratio = torch.full_like(like, torch.inf), torch.zeros_like(like)
        self._best, self._anchor = torch.full_like(like, torch.inf), torch.full_like(like, torch.inf)

    def observe(self, error: Float[Tensor, " batch"]) -> Judgement:
        """Choose the next factors from the errors that the last ones led to.

        Args:
            error: Constraint violation, one for each problem.

        """
        relaxed = self.omega > 1
        setback = relaxed & ~(error <= _SETBACK * self._best)
        ratio = error / self._before
        self._age += 1
        steady = (ratio - self._ratio).abs() < _STEADY * (1 - ratio).clamp(min=1e-3)
        found = ~relaxed & (self._age >= self._patience) & steady & (ratio > 0.1) & (ratio < 1)
        measured = relaxed & (self._age >= _WINDOW) & ~setback
        pace = (error / self._anchor).clamp(min=1e-300) ** (1 / _WINDOW)
        slow = measured & (pace > self.omega - 1) & (pace < 1)
        contraction = (pace + self.omega - 1).square() / (pace * self.omega.square())
        contraction = torch.where(found, ratio, contraction).clamp(max=1 - 1e-9)
        best = (2 / (1 + (1 - contraction).sqrt())).clamp(max=_LARGEST)
        chosen = torch.where(found | slow, torch.maximum(best, self.omega), self.omega)
        self.omega = torch.where(setback, 1.0, chosen)
        self._patience = torch.where(setback, 2 * self._patience, self._patience)
        started = found | measured | setback
        self._anchor = torch.where(started, error, self._anchor)
        self._age = torch.where(started, 0.0, self._age)
        self._best = torch.where(found | setback, error, torch.minimum(error, self._best))
        self._before, self._ratio = error, ratio
        return Judgement(setback, (found | measured) & ~setback | ~relaxed)

    def restart(self, which: Bool[Tensor, " batch"]) -> None:
        """Forget what was measured of some problems, which have become others."""
        for name, value in (("omega", 1.0), ("_age", 0.0), ("_before", torch.inf), ("_ratio", 0.0)):
            setattr(self, name, torch.where(which, value, getattr(self, name)))
        self._best = torch.where(which, torch.inf, self._best)
