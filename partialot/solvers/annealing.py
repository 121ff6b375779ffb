"""Solving at a larger regularisation first where Sinkhorn's algorithm would crawl.

At small `reg` a sweep moves a potential by a few `reg` only, however far it has to go: clusters of unequal mass in
nearly balanced problems stall for hundreds of sweeps. A problem that is seen to stall is therefore solved roughly at a
larger regularisation, which is then halved down to its own, potentials being carried along in units of the cost and
extrapolated as if they were linear in it (Kosowsky and Yuille 1994; Schmitzer 2019; Merigot and Thibert 2021).
Potentials are relative to the weights, so that carrying them along is right for partial problems too. Problems that do
not stall are not touched: they would lose by it. With Newton steps a level costs about a dozen reads, and annealing
begins sooner.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from partialot.augmentation import BorderedProblem
from partialot.kernels.stretch import Watch
from partialot.solvers.base import Potentials

_FACTOR = 2.0
"""Between one regularisation and the next."""

ROUGH = 0.03
"""Constraint violation, relative to the mass, at which a level is left."""


class Schedule(NamedTuple):
    """When to begin, and with what.

    Attributes:
        window: Sweeps over which a problem's pace is measured.
        probe: The sweep by the end of which it is.
        stalled: The contraction of the error, per sweep, above which the problem stalls.
        again: The sweep at which it is asked again, by the least error so far and that of half as many sweeps.
        start: The range of the costs over the first regularisation.
        fewest: The range of the costs over the regularisation, relative to `start`, from which annealing pays.
        fastest: Between one regularisation and the next where the last was easy.
        longest: Reads of the costs after which a level is left at the latest.
        held: The sweep up to which no factor of over-relaxation may be large, so that plain sweeps are measured.
        step: Sweeps at a problem's own regularisation before its first Newton step; where it was annealed, none.
    """

    window: int
    probe: int
    stalled: float
    again: int
    start: float
    fewest: float
    fastest: float
    longest: float
    held: int
    step: int

    @property
    def first(self) -> int:
        """The sweep at whose end the pace begins to be measured."""
        return self.probe - self.window

    @property
    def half(self) -> int:
        """The sweep whose least error the second question compares with."""
        return self.again // 2

    @property
    def crawling(self) -> float:
        """What is left of the error of a problem that stalls after the window."""
        return self.stalled**self.window


SWEEPING = Schedule(
    window=8, probe=16, stalled=0.97, again=16, start=32.0, fewest=2.0, fastest=2.0, longest=40.0, held=0, step=0
)
"""Levels cost as many sweeps as over-relaxed ones at the end: only what stalls gains."""

STEPPING = Schedule(
    window=4, probe=9, stalled=0.9, again=32, start=6.0, fewest=10.0, fastest=4.0, longest=200.0, held=9, step=40
)
"""With Newton steps levels are cheap, but begin where potentials have nowhere far to go: steps are short."""

PATIENT = Schedule(
    window=30, probe=80, stalled=0.98, again=320, start=6.0, fewest=10.0, fastest=4.0, longest=200.0, held=0, step=320
)
"""The same where sweeps are cheap beside all that surrounds a step: as many as take no longer than a few steps."""

_EASILY = 0.1
"""What of the violation allowed at the end of a level is left where it was easy."""

HARDLY = 0.6
"""What of the least error may be left at the second question for a problem not to stall."""


class Annealing:
    """The regularisations of a batch of problems, as exponents per unit of cost.

    Attributes:
        unit: (batch,), what each problem is at.
        target: (batch,), its own.
        schedule: When to begin.
        near: (batch,), which problems stall at a regularisation so near the first one that annealing gains nothing.
        pending: Whether any problem is annealed or may still be; where none is, nothing need be observed.
    """

    def __init__(self, problem: BorderedProblem, sweeps: int, schedule: Schedule, *, wanted: bool) -> None:
        """Begin at the problems' own regularisation.

        Args:
            problem: The batch.
            sweeps: Most sweeps there will be; annealing begins only where it can end within them.
            schedule: When to begin.
            wanted: Whether to anneal at all.
        """
        lowest, highest = (x.reshape(-1) for x in (problem.problem.lowest, problem.problem.highest))
        self.target = 1 / problem.scale.detach()
        self.unit = self.target.clone()
        self.schedule = schedule
        start = self.schedule.start / (highest - lowest).clamp(min=torch.finfo(lowest.dtype).tiny)
        levels = (self.target / start).clamp(min=1.0).log2().ceil() + 1
        self._longest = ((sweeps - self.schedule.again) / (levels + 1)).floor().clamp(max=self.schedule.longest)
        self._start = start
        self._may_begin = (_FACTOR * start < self.target) & (self._longest >= 4) & wanted
        self.pending = bool(self._may_begin.any())
        self._age, self._probed = torch.zeros_like(self.unit), torch.full_like(self.unit, torch.inf)
        self.near = torch.zeros_like(self._may_begin)
        self._least, self._halfway = self._probed.clone(), self._probed.clone()
        self._before: tuple[Tensor, Tensor, Tensor] | None = None

    @property
    def under_way(self) -> Bool[Tensor, " batch"]:
        """Which problems are not at their own regularisation."""
        return self.unit < self.target

    @property
    def probed(self) -> Bool[Tensor, " batch"]:
        """Which problems have their pace measured by plain sweeps."""
        return self._may_begin & (self._age < self.schedule.held)

    @property
    def left(self) -> Float[Tensor, " batch"]:
        """Reads that problems under way have at this level, inf for the others."""
        return torch.where(self.under_way, self._longest - self._age, torch.inf)

    def tolerance(self, own: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Give the violation to go for, where `own` is that at the problems' own regularisation."""
        return torch.where(self.under_way, ROUGH, own)

    def spend(self, reads: Float[Tensor, " batch"]) -> None:
        """Count reads of the costs that were no sweeps."""
        self._age = self._age + reads

    @property
    def watch(self) -> Watch:
        """What the next questions are answered by; `go_on` takes it back after sweeps that found no cause."""
        return Watch(self._age, self._probed, self._halfway, self._may_begin.to(self._age.dtype))

    def go_on(self, watch: Watch, least: Float[Tensor, " batch"]) -> None:
        """Take over what sweeps left that did not stall.

        Args:
            watch: As it was, with what they added.
            least: The least violations so far.
        """
        self._age, self._probed, self._halfway = watch.age, watch.probed, watch.halfway
        self._least = torch.minimum(self._least, least)
        self._ask_no_more()

    def _ask_no_more(self) -> None:
        self._may_begin = self._may_begin & (self._age < self.schedule.again)
        self.pending = bool((self._may_begin | self.under_way).any())

    def observe(self, error: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Give the unit that each problem is to go on with.

        Args:
            error: Constraint violation, relative to the mass, at the present potentials and unit.
        """
        plan = self.schedule
        self._age = self._age + 1
        self._least = torch.minimum(self._least, error)
        self._probed = torch.where(self._age == plan.first, error, self._probed)
        self._halfway = torch.where(self._age == plan.half, self._least, self._halfway)
        crawls = (self._age == plan.probe) & (error > plan.crawling * self._probed)
        stuck = (self._age == plan.again) & (plan.again > plan.probe) & (self._least > HARDLY * self._halfway)
        begins = self._may_begin & (crawls | stuck) & (error > ROUGH)
        self.near = self.near | (begins & (self._start * plan.fewest > self.target))
        begins = begins & ~self.near
        descends = self.under_way & ((error <= ROUGH) | (self._age >= self._longest))
        factor = torch.where(error <= _EASILY * ROUGH, plan.fastest, _FACTOR)
        unit = torch.where(descends, torch.minimum(factor * self.unit, self.target), self.unit)
        unit = torch.where(begins, self._start, unit)
        self._may_begin = self._may_begin & ~begins & (self._age < plan.again)
        self.pending = bool((self._may_begin | (unit < self.target)).any())
        return unit

    def carry(self, f: Tensor, g: Tensor, unit: Float[Tensor, " batch"]) -> Potentials:
        """Go on with other units: give the potentials in them, extrapolated where two levels are known."""
        old, new = self.unit.unsqueeze(-1), unit.unsqueeze(-1)
        # Where a problem stalled is no good place to begin from.
        begins = new < old
        f, g = torch.where(begins, 0.0, f), torch.where(begins, 0.0, g)
        here = f / old, g / old, 1 / old
        before = here if self._before is None else self._before
        known = (new > old) & (before[2] > here[2])
        ahead = torch.where(known, (here[2] - 1 / new) / torch.where(known, before[2] - here[2], 1.0), 0.0)
        changed = new != old
        carried = ((x + ahead * (x - past)) * new for x, past in zip(here[:2], before[:2], strict=True))
        f, g = (torch.where(changed, moved, x) for moved, x in zip(carried, (f, g), strict=True))
        past_f, past_g, past = (torch.where(changed, x, old) for x, old in zip(here, before, strict=True))
        self._before = past_f, past_g, past
        self._age = torch.where(changed.squeeze(-1), 0.0, self._age)
        self.unit = unit
        return f, g
