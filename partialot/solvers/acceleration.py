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

from partialot.kernels.stretch import Pace

WARM_UP = 3
"""Plain sweeps before the first measurement."""

STEADY = 0.2
"""Two contractions differ by less than this part of what is left to 1 before they are believed."""

WINDOW = 8
"""Sweeps over which a relaxed contraction is measured: the error oscillates where ω is large."""

LARGEST = 1.95
"""ω stays below 2, where nothing converges."""


class Relaxation:
    """The factors ω of a batch of problems, each from its own errors.

    Attributes:
        pace: What is known of the problems, ω among it.
    """

    def __init__(self, like: Float[Tensor, " batch"], *, wanted: bool = True) -> None:
        """Begin plainly.

        Args:
            like: One number for each problem.
            wanted: Whether updates are ever to be relaxed.
        """
        self._fresh = 0.0 if wanted else -torch.inf
        plain, unknown = torch.ones_like(like), torch.full_like(like, torch.inf)
        self.pace = Pace(plain, torch.full_like(like, self._fresh), unknown, torch.zeros_like(like), unknown)

    @property
    def omega(self) -> Float[Tensor, " batch"]:
        """What the next sweep uses."""
        return self.pace.omega

    def observe(self, error: Float[Tensor, " batch"]) -> None:
        """Choose the next factors.

        Args:
            error: Constraint violation that the last ones led to, one for each problem.
        """
        omega, age, before, last, anchor = self.pace
        age, ratio = age + 1, error / before
        steady = (ratio - last).abs() < STEADY * (1 - ratio).clamp(min=1e-3)
        relaxed = omega > 1
        found = ~relaxed & (age >= WARM_UP) & steady & (ratio > 0.05) & (ratio < 1)
        measured, contraction = torch.zeros_like(found), ratio
        lower = omega
        if bool(relaxed.any()):
            measured = relaxed & (age >= WINDOW)
            pace = (error / anchor).clamp(min=1e-300) ** (1 / age.clamp(min=1))
            slow = measured & (pace > omega - 1 + 0.1 * (2 - omega))
            young = (pace.clamp(max=1.0) + omega - 1).square() / (pace * omega.square())
            contraction = torch.where(found, ratio, young)
            lower = torch.where(measured, 1 + 0.8 * (omega - 1), omega)
            found = found | slow
        started = found | measured
        if bool(started.any()):
            best = (2 / (1 + (1 - contraction.clamp(max=1 - 1e-9)).sqrt())).clamp(max=LARGEST)
            omega = torch.where(found, best, lower)
            anchor = torch.where(started, error, anchor)
            age = torch.where(started, 0.0, age)
        self.pace = Pace(omega, age, error, ratio, anchor)

    def hold(self, which: Bool[Tensor, " batch"]) -> None:
        """Go on plainly with some problems, whose contraction is measured on."""
        held = which & (self.omega > 1)
        age = torch.where(held, float(WARM_UP), self.pace.age)
        self.pace = self.pace._replace(omega=torch.where(held, 1.0, self.omega), age=age)

    def pause(self, which: Bool[Tensor, " batch"]) -> None:
        """Make the next sweep of some problems a plain one."""
        self.pace = self.pace._replace(omega=torch.where(which, 1.0, self.omega))

    def restart(self, which: Bool[Tensor, " batch"]) -> None:
        """Begin anew with some problems, which have become others."""
        omega, age, before, ratio, anchor = self.pace
        omega, age = torch.where(which, 1.0, omega), torch.where(which, self._fresh, age)
        self.pace = Pace(omega, age, torch.where(which, torch.inf, before), ratio, anchor)
