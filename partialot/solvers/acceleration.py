"""Over-relaxation of Sinkhorn's updates, its factor taken from the contraction seen so far.

Near the optimum Sinkhorn's sweeps are a block Gauss-Seidel iteration whose error falls by a factor η each. Going ω
times the way of every update makes it successive over-relaxation, whose best factor is ω = 2 / (1 + √(1 − η)), and
whose error then falls by ω − 1 each (Young 1954; Thibault, Chizat, Dossal and Papadakis 2017; Lehmann, von Renesse,
Sambale and Uschmajew 2021). η is not known: it is measured while ω = 1, and measured anew from Young's relation
(λ + ω − 1)² = λ ω² η while ω is too small. Where ω is too large the error falls by ω − 1 whatever η is, and ω is
lowered until η can be measured again. That no update lowers the dual is seen to where it is made
(`partialot.kernels.reference.safe_relaxation`).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_WARM_UP = 3
"""Plain sweeps before the first measurement."""

_STEADY = 0.2
"""Two contractions differ by less than this part of what is left to 1 before they are believed."""

_WINDOW = 8
"""Sweeps over which a relaxed contraction is measured: the error oscillates where ω is large."""

_LARGEST = 1.95
"""ω stays below 2, where nothing converges."""


class Relaxation:
    """The factors ω of a batch of problems, each from its own errors.

    Attributes:
        omega: (batch,), what the next sweep uses.
    """

    def __init__(self, like: Float[Tensor, " batch"]) -> None:
        self.omega = torch.ones_like(like)
        self._age = torch.zeros_like(like)
        self._before, self._ratio = torch.full_like(like, torch.inf), torch.zeros_like(like)
        self._anchor = torch.full_like(like, torch.inf)

    def observe(self, error: Float[Tensor, " batch"]) -> None:
        """Choose the next factors.

        Args:
            error: Constraint violation that the last ones led to, one for each problem.
        """
        self._age += 1
        ratio = error / self._before
        steady = (ratio - self._ratio).abs() < _STEADY * (1 - ratio).clamp(min=1e-3)
        relaxed = self.omega > 1
        found = ~relaxed & (self._age >= _WARM_UP) & steady & (ratio > 0.05) & (ratio < 1)
        measured, contraction = torch.zeros_like(found), ratio
        lower = self.omega
        if bool(relaxed.any()):
            measured = relaxed & (self._age >= _WINDOW)
            pace = (error / self._anchor).clamp(min=1e-300) ** (1 / self._age.clamp(min=1))
            slow = measured & (pace > self.omega - 1 + 0.1 * (2 - self.omega))
            young = (pace.clamp(max=1.0) + self.omega - 1).square() / (pace * self.omega.square())
            contraction = torch.where(found, ratio, young)
            lower = torch.where(measured, 1 + 0.8 * (self.omega - 1), self.omega)
            found = found | slow
        started = found | measured
        if bool(started.any()):
            best = (2 / (1 + (1 - contraction.clamp(max=1 - 1e-9)).sqrt())).clamp(max=_LARGEST)
            self.omega = torch.where(found, best, lower)
            self._anchor = torch.where(started, error, self._anchor)
            self._age = torch.where(started, 0.0, self._age)
        self._before, self._ratio = error, ratio

    def hold(self, which: Bool[Tensor, " batch"]) -> None:
        """Go on plainly with some problems, whose contraction is measured on."""
        held = which & (self.omega > 1)
        self.omega = torch.where(held, 1.0, self.omega)
        self._age = torch.where(held, float(_WARM_UP), self._age)

    def restart(self, which: Bool[Tensor, " batch"]) -> None:
        """Begin anew with some problems, which have become others."""
        self.omega = torch.where(which, 1.0, self.omega)
        self._age = torch.where(which, 0.0, self._age)
        self._before = torch.where(which, torch.inf, self._before)
