"""The linear programme by annealing: entropic problems of ever smaller regularisation, until a certificate is tight.

Each round sweeps the entropic problem at one regularisation and then asks what its potentials and its plan, rounded to
a feasible one, prove. The gap between the two has two parts, and the next round attacks the larger: the plan is spread
over pairs that are too dear, which a smaller regularisation mends, and rounding moves what is violated wherever there
is room, which more sweeps mend. (Kosowsky and Yuille 1994; Schmitzer 2019; rounding: Altschuler, Weed and Rigollet
2017.)
"""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from partialot.augmentation import BorderedProblem
from partialot.solvers.base import Potentials, Solver, SolverResult, Status
from partialot.solvers.descent import Descent
from partialot.solvers.proof import flatten


@dataclass(frozen=True)
class AnnealedLP(Solver):
    """The problem without `reg`, approximated until a certificate proves the plan near enough to the cheapest.

    The answer is a feasible plan and feasible potentials whose values differ by at most
    `tol_gap` · max(|value|, 1e-6 · range · mass), where the range is that of the allowed prices: the gap is relative to
    the value, save where that is next to nothing beside the prices, as between two clouds that share their points.
    Each problem of a batch stops by its own certificate. Sweeps run in float32 wherever that is enough, whatever the
    type of the input; certificates are float64 and of the prices as they were passed. Beside the input a solve holds
    the prices in float32, a stored kernel of the same size, and two plans in float64.

    Small gaps need regularisations at which sweeps crawl, so problems that are not certified after some sweeps are
    handed to the network simplex (`ExactLP`, on the CPU), which starts from their potentials. On a CPU, `ExactLP` from
    scratch was faster at every size and gap measured (`benchmarks/bench_gap.py`); sweeps run in batches, and on
    devices.

    Attributes:
        tol_gap: Largest gap between the plan's cost and the proven lower bound, relative to the value.
        max_iter: Most sweeps for each problem.
        simplex_after: Sweeps after which a problem is handed to the simplex; None = never, save where forbidden pairs
            leave no other way to a feasible plan. At least `max_iter` = never.

    References:
        Kosowsky and Yuille (1994), The invisible hand algorithm; Schmitzer (2019), Stabilized sparse
        scaling algorithms for entropy regularized transport problems.
    """

    entropic: ClassVar[bool] = False
    tol_gap: float = 1e-3
    max_iter: int = 10_000
    simplex_after: int | None = 100

    def __post_init__(self) -> None:
        """Refuse impossible settings.

        Raises:
            ValueError: `tol_gap` is not positive, or `max_iter` or `simplex_after` is negative.
        """
        if not 0 < self.tol_gap < math.inf:
            raise ValueError(
                f"`tol_gap` must be positive and finite. Found `tol_gap = {self.tol_gap}`. "
                "Pass how far above the optimum the plan may be, or `solver=ExactLP()` for the optimum itself."
            )
        for name, count in (("max_iter", self.max_iter), ("simplex_after", self.simplex_after)):
            if count is not None and (count != int(count) or count < 0):
                raise ValueError(
                    f"`{name}` must be a whole number, at least 0. Found `{name} = {count}`. "
                    "Pass the most sweeps you can afford."
                )

    @torch.no_grad()
    def run(self, problem: BorderedProblem, init: Potentials | None) -> SolverResult:
        """Anneal until every problem is certified; see `Solver.run`.

        Raises:
            InfeasibleProblemError: The allowed pairs cannot carry the mass.
        """
        sweeps = int(self.max_iter)
        finishes = self.simplex_after is not None and self.simplex_after < sweeps
        if self.simplex_after is not None and finishes:
            sweeps = int(self.simplex_after)
        descent = Descent(flatten(problem.problem), init, self.tol_gap, sweeps, finishes=finishes)
        while descent.left.numel():
            descent.go_on()
        result = descent.result()
        late = result.status != Status.CONVERGED
        return replace(result, shortfall=self._shortfall(descent.gap[late])) if bool(late.any()) else result

    def _shortfall(self, gaps: Tensor) -> str:
        remedy = (
            "Raise `tol_gap`"
            if self.simplex_after is not None and self.simplex_after < self.max_iter
            else ("Raise `max_iter` or `tol_gap`, or pass `simplex_after`")
        )
        return (
            f"The certified gap should fall to `tol_gap = {self.tol_gap:.3g}`. Found {float(gaps.max()):.3g} of the "
            f"value in the worst of {len(gaps)} problems that missed it. {remedy}."
        )
