"""The working state of an annealed solve: the best proof of each problem so far, and where its next round begins."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from partialot.augmentation import BorderedProblem, add_dummy_nodes
from partialot.bounds import transported_mass
from partialot.geometry import DenseCost
from partialot.problem import Problem
from partialot.solvers.base import Potentials, SolverResult, Status
from partialot.solvers.loop import Loop
from partialot.solvers.lp import ExactLP
from partialot.solvers.proof import Proof, prove, select

_FLOOR = 1e-6
"""The part of range · mass below which a value counts as this much when a gap is called small."""

_START, _WARM_START = 32.0, 1024.0
"""The range of the prices over the first regularisation, from scratch and from given potentials."""

_SINGLE, _END = 2.0**17, 2.0**36
"""The same over the last regularisation swept in float32, and over the last of all."""

_FLATTEST, _STEEPEST = 1.5, 4.0
"""Between one regularisation and the next."""

_ROUGH = 0.02
"""Constraint violation, relative to the mass, at which a round ends whose plan is too spread anyway."""

_SPREAD, _AIM, _ROUNDING = 0.6, 0.5, 0.3
"""Parts of the allowed gap: what the plan's spread may take, what it is aimed at, and what rounding is aimed at."""

_LESS = 0.5
"""What rounding is to cost in a round, over what spread will; the next is sharper once it costs no more than spread."""

_GENTLEST, _BOLDEST = 1.0, 0.02
"""Between the violation that one round ends at and that of the next."""

_LONGEST = 1000
"""Sweeps after which a round ends at the latest; where no plan is feasible by then, pairs are forbidden in its way."""

_PERIOD, _NEAR = 16, 30.0
"""Two in so many sweeps are plain where the violation is below so many times what is asked: sweeps that go too far show
ten times the violation that one plain sweep then leaves."""

_TIGHTEST = {torch.float32: 4e-6, torch.float64: 1e-14}
"""The least violation asked of sweeps."""


class Descent:
    """An annealed solve of a flat batch.

    Attributes:
        left: Which problems are not done.
    """

    def __init__(
        self, problem: Problem, init: Potentials | None, tol_gap: float, sweeps: int, *, finishes: bool
    ) -> None:
        """Begin.

        Args:
            problem: A flat batch with stored prices.
            init: Potentials to start from, in units of the prices.
            tol_gap: The gap asked for.
            sweeps: Most for each problem.
            finishes: Whether problems whose gap those do not close are handed to the network simplex.
        """
        self._problem, self._tol_gap, self._sweeps, self._finishes = problem, tol_gap, sweeps, finishes
        spread = self._problem.highest - self._problem.lowest
        nothing, (n, m) = torch.zeros_like(spread), self._problem.size
        count = len(nothing)
        self._range = torch.where(spread > 0, spread, 1.0)
        self._prices: dict[torch.dtype, Tensor] = {}
        self._unit = torch.full_like(nothing, _START if init is None else _WARM_START)
        self._tol, self._is_double = nothing + _ROUGH, nothing > 0
        sizes = (count, n + 1), (count, m + 1)
        # Potentials over the range, of now and of the regularisation before, if any.
        given = [nothing.new_zeros(size) for size in sizes] if init is None else list(init)
        self._here = [side.double() / self._range.unsqueeze(-1) for side in given]
        self._before, self._before_reg = [side.clone() for side in self._here], nothing + torch.inf
        self._duals = [nothing.new_zeros(size) for size in sizes]
        self._plan = nothing.new_zeros(count, n, m)
        self._primal, self._dual = nothing + torch.inf, nothing - torch.inf
        self._n_iter = torch.zeros_like(nothing, dtype=torch.int64)
        self._status = torch.full_like(self._n_iter, int(Status.ITERATION_LIMIT))
        self.left: Int[Tensor, " left"] = torch.arange(count, device=nothing.device)

    def go_on(self) -> None:
        """Sweep every problem that is left at its regularisation, certify it, and choose its next."""
        left, is_double = self.left, self._is_double[self.left]
        self.left = left[:0]
        for dtype, chosen in ((torch.float32, left[~is_double]), (torch.float64, left[is_double])):
            if chosen.numel():
                self._go_on_with(chosen, dtype)

    def result(self) -> SolverResult:
        """Give the best plans and potentials."""
        problem, sent = self._problem, self._plan.sum(-1)
        sides = (sent, problem.a), (self._plan.sum(-2), problem.b)
        mass, moved = transported_mass(problem), sent.sum(-1)
        excess = [(side - weights.double()).clamp(min=0).sum(-1) for side, weights in sides]
        worst = torch.maximum(torch.maximum(*excess), (moved - mass).abs()) / torch.where(mass > 0, mass, 1.0)
        plan = self._plan.to(problem.a.dtype)
        f, g = self._duals
        return SolverResult(f, g, plan, moved, self._n_iter, worst, self._status)

    @property
    def gap(self) -> Float[Tensor, " batch"]:
        """The gaps reached, relative like `tol_gap`; inf where nothing is proven."""
        gap = self._primal - self._dual
        unit = self._allowed(torch.arange(len(self._unit), device=self._unit.device)) / self._tol_gap
        return torch.where(gap > 0, gap / unit, 0.0)

    def _go_on_with(self, chosen: Tensor, dtype: torch.dtype) -> None:
        problem, unit = select(self._problem, chosen), self._unit[chosen].unsqueeze(-1)
        level = self._level(problem, chosen, dtype)
        limit = (self._sweeps - self._n_iter[chosen]).clamp(max=_LONGEST)
        start = self._here[0][chosen] * unit, self._here[1][chosen] * unit
        swept = _sweep(level, start, self._tol[chosen], limit)
        self._n_iter[chosen] += swept.n_iter
        for here, side in zip(self._here, (swept.f, swept.g), strict=True):
            here[chosen] = side / unit
        proof = prove(problem, level, swept, self._range[chosen])
        self._take(proof, chosen)
        lost = (swept.n_iter >= limit) & self._primal[chosen].isinf()
        handed = self._decide(proof.spread, swept, chosen) | lost
        if bool(handed.any()):
            self._solve_exactly(select(problem, handed.nonzero().squeeze(-1)), chosen[handed])
        self.left = self.left[~torch.isin(self.left, chosen[handed])]

    def _level(self, problem: Problem, chosen: Tensor, dtype: torch.dtype) -> BorderedProblem:
        """Give the entropic problems of this round, their prices in [0, 1]."""
        if dtype not in self._prices:
            self._prices[dtype] = _stretch(self._problem, self._range, dtype)
        prices = self._prices[dtype] if len(chosen) == len(self._unit) else self._prices[dtype][chosen]
        inner = replace(problem, geometry=DenseCost(prices), a=problem.a.to(dtype), b=problem.b.to(dtype), dtype=dtype)
        scale = 1 / self._unit[chosen]
        return replace(add_dummy_nodes(problem), problem=inner, scale=scale, shift=torch.zeros_like(scale))

    def _take(self, proof: Proof, chosen: Tensor) -> None:
        """Keep what is better than before."""
        better = (proof.primal < self._primal[chosen]) | self._primal[chosen].isinf()
        if bool(better.all()) and len(chosen) == len(self._plan):
            self._plan = proof.plan
        else:
            self._plan[chosen[better]] = proof.plan[better]
        higher = proof.dual > self._dual[chosen]
        for kept, found in zip(self._duals, (proof.f, proof.g), strict=True):
            kept[chosen[higher]] = found[higher]
        self._primal[chosen] = torch.minimum(proof.primal, self._primal[chosen])
        self._dual[chosen] = torch.maximum(proof.dual, self._dual[chosen])

    def _solve_exactly(self, problem: Problem, chosen: Tensor) -> None:
        """Finish by the network simplex, or find that no allowed way carries the mass."""
        start = self._duals[0][chosen], self._duals[1][chosen]
        bordered = add_dummy_nodes(problem)
        found = ExactLP().run(bordered, start)
        assert found.plan is not None
        proof = prove(problem, bordered, found, torch.ones_like(problem.lowest))
        self._take(proof, chosen)
        done = self._primal[chosen] - self._dual[chosen] <= self._allowed(chosen)
        self._status[chosen] = torch.where(done, int(Status.CONVERGED), int(Status.PRECISION_FLOOR))

    def _allowed(self, chosen: Tensor) -> Tensor:
        """Give the gaps at which problems are done."""
        value = torch.where(self._primal.isfinite(), self._primal, self._dual).abs()[chosen]
        least = _FLOOR * (self._range * transported_mass(self._problem))[chosen]
        return self._tol_gap * torch.maximum(value, least)

    def _decide(self, spread: Tensor, swept: SolverResult, chosen: Tensor) -> Tensor:
        """Let go of who is done, choose the others' next regularisation and violation, and tell who needs a finish."""
        allowed, gap = self._allowed(chosen), self._primal[chosen] - self._dual[chosen]
        unit, was_double = self._unit[chosen], self._is_double[chosen]
        rounding = (gap - spread).clamp(min=0)
        sharpens = (spread > _SPREAD * allowed) & (spread > rounding)
        factor = torch.where(sharpens, (spread / (_AIM * allowed)).clamp(_FLATTEST, _STEEPEST), 1.0)
        # What rounding may cost next: less than the spread will, or its part of what is allowed.
        target = torch.maximum(_ROUNDING * allowed, _LESS * spread / factor)
        tol = (swept.error * (target / rounding).clamp(_BOLDEST, _GENTLEST)).clamp(max=_ROUGH)
        floored = (swept.status == Status.PRECISION_FLOOR) | (swept.error <= _TIGHTEST[torch.float64])
        single = (unit * factor <= _SINGLE) & (tol >= _TIGHTEST[torch.float32]) & ~floored
        done = ~(gap > allowed)
        ended = was_double & ((unit >= _END) | (floored & ~sharpens))
        over = ended | (self._n_iter[chosen] >= self._sweeps)
        status = torch.where(ended, int(Status.PRECISION_FLOOR), int(Status.ITERATION_LIMIT))
        self._status[chosen] = torch.where(done, int(Status.CONVERGED), status)
        self._is_double[chosen] = was_double | ~single
        self._tol[chosen] = tol.clamp(min=_TIGHTEST[torch.float64])
        self._sharpen(chosen, unit, unit * factor)
        self.left = torch.cat((self.left, chosen[~(done | over)])).sort().values
        return over & ~done & self._finishes

    def _sharpen(self, chosen: Tensor, old: Tensor, new: Tensor) -> None:
        """Go to other regularisations, potentials extrapolated as if linear in it where two are known."""
        moves, before = new > old, self._before_reg[chosen]
        ahead = torch.where(moves & before.isfinite(), (1 / old - 1 / new) / (before - 1 / old), 0.0).unsqueeze(-1)
        for here, past in zip(self._here, self._before, strict=True):
            now = here[chosen]
            here[chosen] = now + ahead * (now - past[chosen])
            past[chosen] = torch.where(moves.unsqueeze(-1), now, past[chosen])
        self._before_reg[chosen] = torch.where(moves, 1 / old, before)
        self._unit[chosen] = new


def _sweep(level: BorderedProblem, start: Potentials, tol: Tensor, limit: Tensor) -> SolverResult:
    """Sweep each problem to its violation, or as often as it may be."""
    most = int(limit.max())
    loop = Loop(level, start, None, over_relaxation=True, annealing=False, sweeps=most)
    loop.tol = tol
    for sweep in range(most + 1):
        rows = loop.sum_rows()
        loop.judge(rows)
        if sweep % _PERIOD >= _PERIOD - 2:
            loop.relaxation.pause(loop.error <= _NEAR * tol)
        loop.running = loop.running & (sweep < limit)
        if not bool(loop.running.any()):
            break
        loop.update(rows)
    return loop.result()


def _stretch(problem: Problem, span: Tensor, dtype: torch.dtype) -> Float[Tensor, "batch n m"]:
    """Give the prices in [0, 1]; differences of large ones in float64, as float32 may not tell them apart.

    Pairs without weight may be cheaper than the lowest price; they carry nothing at any.
    """
    cost = problem.flat_cost(slice(None))
    stretched = torch.empty(cost.shape, dtype=dtype, device=cost.device)
    for index, (low, unit) in enumerate(zip(problem.lowest, span, strict=True)):
        stretched[index] = ((cost[index].double() - low) / unit).clamp_(min=0.0)
    return stretched
