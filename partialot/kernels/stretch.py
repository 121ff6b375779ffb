"""A stretch of sweeps: a pass, and then as many sweeps with their passes as need no decision from outside.

What a sweep is, is defined by `reference.row_pass`, `border.measure` and `border.update`; how far its updates go, by
`solvers.acceleration`. A problem's stretch ends with a pass whose sweep is not yet made: where its violation is small
enough or at its floor, where it stalls, where a sum left the range of the type, where the potentials have left those
the kernel was stored at or have come to rest where it should be, or after the sweeps it was given. Whoever goes on from
there does what a sweep at a time would have done, so that a pass alone (`pass_at`) is a stretch too: what can
make more saves the dozens of small operations that it takes to decide nothing.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int8
from torch import Tensor

from partialot.kernels.primitives import Entries, Iterate, Marginals, Prices, RowSums, RowUpdate, Source


@dataclass(frozen=True, eq=False)
class Kernels:
    """Where the entries of a batch of Gibbs kernels come from, whatever the potentials.

    Attributes:
        prices: The costs.
        stored: The stored kernels; None where no problem has one.
        base: The potentials (batch, n) and (batch, m) that they were stored at, the columns' times b; None likewise.
        source: One `Source` for each problem.
    """

    prices: Prices
    stored: Float[Tensor, "batch n m"] | None
    base: tuple[Tensor, Tensor] | None
    source: Int8[Tensor, " batch"]

    def at(self, f: Float[Tensor, "batch n"], g: Float[Tensor, "batch m"], log_b: Float[Tensor, "batch m"]) -> Entries:
        """Give the entries at some potentials; those of columns without weight are 0."""
        if self.base is None:
            return Entries(self.prices, self.stored, self.source, f, g + log_b)
        served = (self.source == Source.STORED).unsqueeze(-1)
        rows = torch.where(served, f - self.base[0], f)
        return Entries(self.prices, self.stored, self.source, rows, torch.where(served, g - self.base[1], g + log_b))


class Pace(NamedTuple):
    """How fast problems go, each (batch,).

    Attributes:
        omega: How far of the way to their optimum the updates of the next sweep go.
        age: Sweeps since the contraction was last measured; -inf where it never is to be.
        before: Violation at the last sweep.
        ratio: Its contraction by that sweep.
        anchor: Violation where the measurement under way began.
    """

    omega: Tensor
    age: Tensor
    before: Tensor
    ratio: Tensor
    anchor: Tensor


class Progress(NamedTuple):
    """How far problems have come, each (batch,).

    Attributes:
        best: The least violation so far.
        stalled: Sweeps since it last fell by a tenth.
        travelled: A bound on how far any potential is from those the kernel was stored at.
    """

    best: Tensor
    stalled: Tensor
    travelled: Tensor


class Watch(NamedTuple):
    """What is remembered of a problem to tell whether it stalls, each (batch,).

    Attributes:
        age: Sweeps at this regularisation.
        probed: The violation where its fall began to be measured.
        halfway: The least violation by half of the last time to tell.
        watched: 1 where it is to be told, else 0.
    """

    age: Tensor
    probed: Tensor
    halfway: Tensor
    watched: Tensor


class Limits(NamedTuple):
    """Where stretches end, each (batch,).

    Attributes:
        tol: Violation that is small enough.
        floor: Violation that rounding may explain once nothing falls any more.
        reach: How far potentials may travel.
        settled: Where the kernel is not stored and no potential moves further, it is to be.
        sweeps: Most sweeps; 0 for a pass alone.
        held: Passes of this stretch before which a large ω is held at 1.
    """

    tol: Tensor
    floor: Tensor
    reach: Tensor
    settled: Tensor
    sweeps: Tensor
    held: Tensor


@dataclass(frozen=True)
class Rules:
    """The numbers by which sweeps are judged.

    Attributes:
        patience: Sweeps without progress after which a violation near the floor is one.
        warm_up: Plain sweeps before the first measurement of a contraction.
        steady: Two contractions differ by less than this part of what is left to 1 before they are believed.
        window: Sweeps over which a relaxed contraction is measured.
        largest: The largest ω.
        suspect: The largest ω before it is known whether a problem stalls.
        first: The sweep at which its fall begins to be measured.
        probe: The sweep at which it has been.
        half: The sweep whose least violation is kept for the second question.
        again: The sweep at which that is asked.
        crawling: What is left from `first` to `probe` of the violation of a problem that stalls, at least.
        stuck: What is left from `half` to `again`, likewise.
        rough: Violation below which no problem counts as stalling.
    """

    patience: int
    warm_up: int
    steady: float
    window: int
    largest: float
    suspect: float
    first: int
    probe: int
    half: int
    again: int
    crawling: float
    stuck: float
    rough: float


class State(NamedTuple):
    """All that the sweeps of a stretch change."""

    iterate: Iterate
    pace: Pace
    progress: Progress
    watch: Watch


class Stretch(NamedTuple):
    """What a stretch leads to.

    Attributes:
        state: Before the sweep that belongs to the last pass.
        rows: What that pass found.
        made: (batch,), how many sweeps were made.
    """

    state: State
    rows: RowSums
    made: Float[Tensor, " batch"]


def pass_at(kernels: Kernels, marginals: Marginals, state: State) -> tuple[Entries, RowUpdate]:
    """Give what the pass at the present potentials is to be made of, and what it does to the rows.

    Args:
        kernels: Where the entries come from.
        marginals: The weights.
        state: Where sweeps stand.
    """
    f, g = state.iterate.f, state.iterate.g
    return kernels.at(f[:, :-1], g[:, :-1], marginals.log_b[:, :-1]), update_at(marginals, state)


def update_at(marginals: Marginals, state: State) -> RowUpdate:
    """Give what the pass at the present potentials does to the rows, wherever its entries come from."""
    f, g = state.iterate.f, state.iterate.g
    edge = marginals.log_b[:, -1:] + f[:, :-1] + g[:, -1:]
    return RowUpdate(edge, marginals.log_a[:, :-1], state.pace.omega, None)
