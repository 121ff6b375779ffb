"""The numbers of which a stretch has one for each problem, in one tensor: a launch takes one address, not thirty.

Line k of (lines, batch) is the k-th of: mass, corner, column error and edge share of the iterate; the pace; the
progress; the watch; the limits; the sweeps made.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.kernels.primitives import Iterate, RowSums
from partialot.kernels.stretch import Limits, Pace, Progress, State, Stretch, Watch

SCALARS = len(Iterate._fields) - 2
"""Lines of the iterate."""
PACE = SCALARS
PROGRESS = PACE + len(Pace._fields)
WATCH = PROGRESS + len(Progress._fields)
LIMITS = WATCH + len(Watch._fields)
SWEEPS = LIMITS + Limits._fields.index("sweeps")
MADE = LIMITS + len(Limits._fields)


class Ledger(NamedTuple):
    """All that a stretch changes, and where it ends.

    Attributes:
        f: (batch, n + 1), the iterate's potentials.
        g: (batch, m + 1), likewise.
        lines: The other numbers.
    """

    f: Tensor
    g: Tensor
    lines: Float[Tensor, "lines batch"]

    @classmethod
    def of(cls, state: State, limits: Limits) -> "Ledger":
        """Begin a stretch; nothing of `state` is written to."""
        f, g, *scalars = state.iterate
        made = torch.zeros_like(state.iterate.mass)
        lines = torch.stack((*scalars, *state.pace, *state.progress, *state.watch, *limits, made))
        f, g = (x.clone(memory_format=torch.contiguous_format) for x in (f, g))
        return cls(f, g, lines)

    @property
    def state(self) -> State:
        """Where sweeps stand, by views."""
        lines = self.lines.unbind()
        return State(
            Iterate(self.f, self.g, *lines[:PACE]),
            Pace(*lines[PACE:PROGRESS]),
            Progress(*lines[PROGRESS:WATCH]),
            Watch(*lines[WATCH:LIMITS]),
        )

    def stretch(self, rows: RowSums) -> Stretch:
        """Give what the stretch has led to, `rows` being what its last pass found."""
        return Stretch(self.state, rows, self.lines[MADE])
