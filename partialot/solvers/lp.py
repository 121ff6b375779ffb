"""The exact linear programme, problem by problem, at the scale at which its prices matter."""

import warnings
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from partialot.augmentation import BorderedProblem
from partialot.solvers.base import Solver, SolverResult, Status
from partialot.solvers.network_simplex import Array, Indices
from partialot.solvers.priced import solve_priced
from partialot.solvers.programme import Answer, Programme, solve_programme

_CHEAP = 1e-5
"""Where the mean price paid is below this part of the range, the solve is repeated at the optimum's own scale."""

_HEADROOM = 1e3
"""How far above the mean price paid the prices are then capped."""

_PATIENCE = 5.0
"""Seconds after which a batch counts as long and gets a progress bar."""


@dataclass(frozen=True)
class ExactLP(Solver):
    """The network simplex of Bonneel et al. (2011) as POT ships it, problem by problem, in float64 on the CPU.

    Large problems are solved over a shortlist of pairs that grows until all pairs agree, which at thousands of nodes
    takes a half to a tenth of the time that pivoting over all of them does. Plans are vertices, exact to rounding;
    POT stops where no pair is cheaper than its potentials say by more than about 1e-14 · (n + m) of the cost range, so
    that is the most that a unit of mass can be paid too much. Where the optimum is below 1e-5 of the range, a thousand
    times its mean price takes the range's place. Potentials are optimal dual solutions to the same digits.
    `Solution.n_iter` is 0: POT does not count its pivots.

    Problems of a batch are solved by threads, side by side: POT lets go of the interpreter while it pivots, so threads
    are no slower than processes, which would have to be started and sent the costs. A batch that takes more than 5
    seconds shows a progress bar on the terminal where tqdm is installed.

    Attributes:
        max_iter: Most pivots for each problem (for each round, where a large one is solved over a growing shortlist).
        workers: Threads that solve problems of a batch; no answer depends on how many. None = as many as PyTorch may
            use, `torch.get_num_threads()`, which is the number of cores unless told otherwise.
    """

    entropic: ClassVar[bool] = False
    max_iter: int = 10_000_000
    workers: int | None = None

    def __post_init__(self) -> None:
        """Refuse impossible settings.

        Raises:
            ValueError: `max_iter` or `workers` is not positive.
        """
        if self.max_iter != int(self.max_iter) or self.max_iter < 1:
            raise ValueError(
                f"`max_iter` must be a whole number, at least 1. Found `max_iter = {self.max_iter}`. "
                "Pass the most pivots you can afford."
            )
        if self.workers is not None and (self.workers != int(self.workers) or self.workers < 1):
            raise ValueError(
                f"`workers` must be a whole number, at least 1, or None. Found `workers = {self.workers}`. "
                "Pass how many threads may solve, or None for as many as PyTorch uses."
            )

    def run(self, problem: BorderedProblem, init: tuple[Tensor, Tensor] | None) -> SolverResult:
        """Solve each problem of the batch; see `Solver.run`.

        Raises:
            InfeasibleProblemError: The allowed pairs cannot carry the mass.
            SolverError: POT's plan and dual solution contradict each other.
        """
        given = problem.problem.flat_cost(slice(None)), problem.a, problem.b, problem.mass, problem.total, problem.shift
        cost, a, b, mass, total, shift = (_array(side) for side in given)
        starts = None if init is None else (_array(init[0]), _array(init[1]))
        working = problem.problem.a.detach()
        plan = torch.zeros(cost.shape, dtype=working.dtype, device="cpu")
        written = plan.numpy()
        f, g, moved, error = np.zeros_like(a), np.zeros_like(b), np.zeros_like(mass), np.zeros_like(mass)
        limited, priced = np.zeros(len(mass), dtype=bool), problem.problem.price is not None

        def solve_one(index: int) -> None:
            programme = Programme(cost[index] - shift[index], None, a[index], b[index], float(mass[index]))
            start = None if starts is None else (starts[0][index], starts[1][index])
            if priced:
                solved = _Solved(*solve_priced(programme, start, self.max_iter, index))
            else:
                solved = _solve_one(programme, start, self.max_iter, index)
            written[index, solved.rows, solved.columns] = solved.amounts * total[index]
            f[index], g[index], limited[index] = solved.f, solved.g, solved.limited
            moved[index] = solved.amounts.sum() * total[index]
            error[index] = 0.0 if priced else _violation(solved, programme)

        _for_each(len(mass), solve_one, torch.get_num_threads() if self.workers is None else self.workers)
        status = np.where(limited, int(Status.ITERATION_LIMIT), int(Status.CONVERGED))

        def back(found: NDArray[Any]) -> Tensor:
            return torch.as_tensor(found, device=working.device)

        return SolverResult(
            f=back(f),
            g=back(g),
            plan=plan.to(working.device),
            moved=back(moved),
            n_iter=back(np.zeros_like(status)),
            error=back(error).to(working),
            status=back(status),
        )


def _for_each(count: int, solve_one: Callable[[int], None], workers: int) -> None:
    """Call `solve_one` on 0 … count − 1, side by side; the first error is the one that a loop would meet first."""

    def solve_some(some: range) -> None:
        for index in some:
            solve_one(index)

    # Pieces small enough to share the work evenly, large enough to hide what handing them out costs.
    step = 1 if workers == 1 else max(1, count // (8 * workers))
    pieces = [range(begin, min(begin + step, count)) for begin in range(0, count, step)]
    with warnings.catch_warnings(), _progress(count) as advance:
        # POT's warnings, which its log repeats. Filters belong to the whole process, so no thread may touch them.
        warnings.simplefilter("ignore")
        if min(workers, count) <= 1:
            for piece in pieces:
                solve_some(piece)
                advance(len(piece))
            return
        with ThreadPoolExecutor(min(workers, count)) as pool:
            futures = [pool.submit(solve_some, piece) for piece in pieces]
            try:
                for piece, future in zip(pieces, futures, strict=True):
                    future.result()
                    advance(len(piece))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


@contextmanager
def _progress(count: int) -> Generator[Callable[[int], object]]:
    """Give what to call with the number of problems solved: a bar's `update`, where there is a terminal and tqdm."""
    try:
        # Not a dependency: whoever has it, as all who train do, sees the bar.
        from tqdm import tqdm
    except ImportError:
        yield lambda solved: None
        return
    # disable=None: none unless standard error is a terminal.
    with tqdm(total=count, desc="exact transport", unit="problem", delay=_PATIENCE, disable=None, leave=False) as bar:
        yield bar.update


class _Solved(NamedTuple):
    """The pairs that carry mass and how much, potentials with the dummies' last, and whether pivots ran out."""

    rows: Indices
    columns: Indices
    amounts: Array
    f: Array
    g: Array
    limited: bool


def _solve_one(problem: Programme, start: tuple[Array, Array] | None, max_iter: int, index: int) -> _Solved:
    (n, m), f, g = problem.cost.shape, np.zeros_like(problem.a), np.zeros_like(problem.b)
    inner, (rows, columns) = _taking_part(problem)
    if problem.mass <= 0 or (inner.forbidden is not None and inner.forbidden.all()) or not inner.cost.size:
        # The first unit moved would take the cheapest pair: the one-sided price of mass at 0.
        price = inner.cost.min(initial=np.inf)
        f[-1], g[:-1] = (-price, price) if np.isfinite(price) else (0.0, 0.0)
        nothing = np.zeros(0, dtype=np.intp)
        return _Solved(nothing, nothing, np.zeros(0), f, g, False)
    inner_start = None if start is None else (start[0][np.append(rows, n)], start[1][np.append(columns, m)])
    answer = _at_its_scale(inner, inner_start, max_iter, index)
    balanced = bool(problem.a[-1] <= 0 and problem.b[-1] <= 0)
    price, sources, targets = answer.price, answer.of_a, answer.of_b
    # The gauge in which the dummy target's potential is 0: f is then the derivative with respect to a.
    f[rows], f[-1], g[columns] = sources, -price, targets + price
    if len(rows) < n:
        idle = np.flatnonzero(problem.a[:-1] <= 0)
        f[idle] = _largest(problem.cost[np.ix_(idle, columns)] - price - targets, balanced)
    if len(columns) < m:
        idle = np.flatnonzero(problem.b[:-1] <= 0)
        g[idle] = _largest(problem.cost[np.ix_(rows, idle)].T - price - sources, balanced) + price
    return _Solved(rows[answer.rows], columns[answer.columns], answer.amounts, f, g, answer.limited)


def _taking_part(problem: Programme) -> tuple[Programme, tuple[Indices, Indices]]:
    """Leave out the nodes of weight 0 and mark the forbidden pairs."""
    cost, (n, m) = problem.cost, problem.cost.shape
    rows, columns = (np.flatnonzero(side[:-1] > 0) for side in (problem.a, problem.b))
    if (len(rows), len(columns)) != (n, m):
        cost = cost[np.ix_(rows, columns)]
    forbidden = np.isinf(cost) if cost.size and cost.max() == np.inf else None
    a, b = problem.a[np.append(rows, n)], problem.b[np.append(columns, m)]
    return Programme(cost, forbidden, a, b, problem.mass), (rows, columns)


def _at_its_scale(problem: Programme, start: tuple[Array, Array] | None, max_iter: int, index: int) -> Answer:
    """Solve a problem whose weights are all positive, at the scale at which its prices matter.

    The simplex compares prices to some ulps of the largest. Where the optimum is orders cheaper, prices are capped
    near it: an optimum of the capped problem that uses no capped pair is one of the problem itself, and its duals are
    valid.
    """
    allowed = problem.cost if problem.forbidden is None else problem.cost[~problem.forbidden]
    low, high = float(allowed.min()), float(allowed.max())
    unit = high - low if high > low else 1.0
    answer = solve_programme(problem, (low, unit), start, max_iter, index)
    relative = float((problem.cost[answer.rows, answer.columns] - low) @ answer.amounts) / problem.mass
    ceiling = _HEADROOM * relative
    while 0 < ceiling < unit and relative < _CHEAP * unit:
        finer = solve_programme(problem, (low, ceiling), start, max_iter, index)
        if not (problem.cost[finer.rows, finer.columns] - low >= ceiling).any():
            return finer
        ceiling *= _HEADROOM
    return answer


def _largest(reduced: Array, balanced: bool) -> Array:
    """Give nodes of weight 0 the largest potential the dual allows."""
    best = reduced.min(axis=1, initial=np.inf if balanced else 0.0)
    best[~np.isfinite(best)] = 0.0
    return best


def _violation(solved: _Solved, problem: Programme) -> float:
    if problem.mass <= 0:
        return 0.0
    sent, taken = (
        np.bincount(nodes, solved.amounts, len(weights) - 1) - weights[:-1]
        for nodes, weights in ((solved.rows, problem.a), (solved.columns, problem.b))
    )
    worst = max(sent.clip(min=0).sum(), taken.clip(min=0).sum(), abs(solved.amounts.sum() - problem.mass))
    return float(worst) / problem.mass


def _array(side: Tensor) -> Array:
    return side.detach().cpu().double().numpy()
