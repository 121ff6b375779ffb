"""The parts of a solve over stored prices that are timed by themselves, as `solve` calls them."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from timing import Clock
from torch import Tensor

import partialot
from partialot.augmentation import add_dummy_nodes
from partialot.communicator import ALONE
from partialot.duals import from_user_units
from partialot.kernels import dispatch
from partialot.kernels.primitives import Entries, Iterate, Marginals, RowSums, RowUpdate, Source
from partialot.problem import Problem

_WARM = 5
"""Sweeps that bring potentials near those of most of a solve."""


@dataclass(frozen=True)
class Sweep:
    """One sweep of a batch of problems with uniform weights, over and over from the same potentials."""

    entries: Entries
    update: RowUpdate
    marginals: Marginals
    iterate: Iterate
    running: Tensor

    @classmethod
    def of(cls, cost: Tensor, mass: float | None, reg: float) -> "Sweep":
        """Take the potentials after some sweeps of `solve`."""
        solution = sweep(cost, mass, reg, _WARM)
        bordered = add_dummy_nodes(Problem.from_inputs(cost, None, None, mass=mass, reg=reg, formulation="dummy"))
        f, g = from_user_units(bordered, *solution.duals)
        marginals = Marginals(bordered.a, bordered.a.log(), bordered.b, bordered.b.log(), False)
        ones, real = torch.ones_like(bordered.mass), slice(None, -1)
        edge = marginals.log_b[:, -1:] + f[:, real] + g[:, -1:]
        source = torch.full_like(ones, int(Source.COST), dtype=torch.int8)
        return cls(
            Entries(bordered.prices(slice(None)), None, source, f[:, real], g[:, real] + marginals.log_b[:, real]),
            RowUpdate(edge, marginals.log_a[:, real], ones, None),
            marginals,
            Iterate(f, g, bordered.mass, 0 * ones, 0 * ones, bordered.mass.clone()),
            ones.bool(),
        )

    def over_rows(self) -> RowSums:
        """The pass over the matrix."""
        return dispatch.row_pass(self.entries, self.update)

    def whole(self) -> Iterate:
        """The pass, the judgement, and the update of rows, columns and mass."""
        rows = self.over_rows()
        edge = dispatch.measure(self.marginals, self.iterate, rows, ALONE).edge
        kind, omega = self.entries.prices.cost.dtype, self.update.relaxation
        return dispatch.update(self.marginals, self.iterate, rows, None, edge, omega, self.running, kind, ALONE)[0]


def sweep(cost: Tensor | partialot.PointCloud, mass: float | None, reg: float, sweeps: int) -> partialot.Solution:
    """Solve by so many plain or over-relaxed sweeps, converged or not."""
    solver = partialot.Sinkhorn(max_iter=sweeps, tol=1e-30, annealing=False, newton=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", partialot.ConvergenceWarning)
        return partialot.solve(cost, mass=mass, reg=reg, solver=solver)


def between(run: Callable[[int], object], counts: tuple[int, int], clock: Clock) -> Callable[[], float]:
    """Seconds that one iteration adds to a run.

    Args:
        run: Takes how many iterations to make.
        counts: Few and many.
        clock: That times both.
    """
    few, many = counts

    def measure() -> float:
        less = clock(lambda: run(few))
        return (clock(lambda: run(many)) - less) / (many - few)

    return measure
