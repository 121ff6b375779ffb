"""Newton steps of the reduced dual, for problems on which over-relaxed sweeps crawl.

With the rows' potentials at their optimum for given g, the dual is a concave function of g alone: its gradient is what
the columns lack, r = b − Σ_i P_i·, its Hessian −S with S = diag(Σ_i P_ij) − Pᵀ diag(1/a) P, the Schur complement of
the rows, border included. S δ = r is solved roughly by conjugate gradients, each product one read of the stored kernel,
or of the costs where nothing is stored (`products`), and g moves along δ as far as the dual gains enough (truncated
Newton: Kemertas, Jepson and Farahmand 2025).
A step begins from the sums of a sweep and ends in those of the next, so that none is read twice.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from partialot.kernels.conjugate_gradient import conjugate_gradient
from partialot.kernels.primitives import RowSums
from partialot.solvers.loop import Loop

SUSPECT = 1.4
"""Factors of over-relaxation that wait until it is known whether their problem stalls."""

STUCK = 20
"""Sweeps without a tenth of progress after which a small violation asks for the first step: large factors of
over-relaxation amplify rounding."""

NEARLY = 1024.0
"""Times the rounding error that is small."""

_WORTH = 0.5
"""What of the error may be left from one step to the next for them to go on at that pace."""

_PATIENCE = 4
"""How many times longer a problem waits for its next step whose last one was worth less."""

_PRODUCTS = 60
"""Most products with the plan for one step."""

_MANY = 20
"""A problem one of whose steps took so many is preconditioned by the exact diagonal from then on."""

_ROUGHLY = 0.1
"""Relative residual at which a step's linear system is left, unless a larger one is enough."""

_LONGEST = 3.9
"""No potential moves further in a step: beyond, the dual is nothing like its quadratic model, and the kernel would have
to be stored anew."""

_BELIEVED = 2.0
"""Root mean square of the potentials' moves, by weight, at which a step's linear system is left: it is shortened
anyway."""

_HALVINGS = 6
"""How often a step is halved before it is given up."""

_ENOUGH = 1e-4
"""Part of what the gradient promises that the dual has to gain (Armijo)."""


class Newton:
    """Decides when a problem gets a step, and takes it.

    While a problem is annealed, every other read of the matrix is followed by a step. At its own regularisation it goes
    on like that if it was annealed, if it stalls too near the first level for that, if it stands still near the
    rounding error, or from a certain sweep on, as long as steps are worth their products.
    """

    def __init__(self, like: Float[Tensor, " batch"], sweeps: int, first: int) -> None:
        """Begin with no step.

        Args:
            like: One number for each problem.
            sweeps: Most reads of the kernel there may be.
            first: Sweeps at a problem's own regularisation before its first step; where it was annealed, none.
        """
        self._sweeps = sweeps
        self._age, self._next = torch.zeros_like(like), torch.full_like(like, first)
        self._interval, self._before = torch.ones_like(like), torch.full_like(like, torch.inf)
        self._chosen = torch.zeros_like(like, dtype=torch.bool)
        self._is_first, self._is_stiff = ~self._chosen, self._chosen.clone()

    def choose(self, loop: Loop) -> None:
        """Choose the problems that are to step from the next sum of the rows, which has to be an exact update."""
        annealed, relaxation = loop.annealing.under_way, loop.relaxation
        self._age = torch.where(annealed, 0.0, self._age + 1)
        stuck = (loop.stalled >= STUCK) & (loop.best <= NEARLY * loop.floor)
        self._next = torch.where(annealed | (self._is_first & (loop.annealing.near | stuck)), 0.0, self._next)
        self._chosen = (annealed | (self._age >= self._next)) & loop.running
        if loop.annealing.pending or bool(self._chosen.any()):
            relaxation.hold(self._chosen | (loop.annealing.probed & (relaxation.omega > SUSPECT)))

    @property
    def pause(self) -> Float[Tensor, " batch"]:
        """How many sweeps there may be before the next that a step may follow."""
        return torch.where(self._chosen, 0.0, self._next - self._age - 1)

    def go_on(self, made: Float[Tensor, " batch"]) -> None:
        """Count sweeps that were made without asking."""
        self._age = self._age + made

    def step(self, loop: Loop, rows: RowSums) -> RowSums:
        """Move the potentials of the targets where that is due, and give the sums of the rows at the new ones.

        Args:
            loop: After its judgement of `rows`.
            rows: Sums at the present potentials, the update exact for the problems that were chosen.
        """
        if not bool(self._chosen.any()):
            return rows
        left = torch.minimum(self._sweeps - loop.made - loop.products, loop.annealing.left) - _HALVINGS - 2
        wanted = (loop.error > loop.annealing.tolerance(loop.tol)) & (loop.error < torch.finfo(loop.error.dtype).max)
        chosen = self._chosen & wanted & loop.running & loop.gibbs.gives_products & (left > 0)
        if not bool(chosen.any()):
            return rows
        now, within = _Plan(loop, rows), loop.annealing.tolerance(loop.tol)
        found = conjugate_gradient(
            now.schur,
            torch.where(chosen.unsqueeze(-1), now.lacking, 0.0),
            now.diagonal(self._is_stiff & chosen),
            tol=(0.3 * within / loop.error).clamp(min=_ROUGHLY, max=0.5),
            max_iter=left.clamp(max=_PRODUCTS).to(torch.int64),
            reach=_BELIEVED,
        )
        # Constants are in the kernel of S.
        way = found.x - (loop.b.value * found.x).sum(-1, keepdim=True)
        length = (_LONGEST / way.abs().amax(-1).clamp(min=1e-300)).clamp(max=1.0)
        # Nodes that next to nothing ties to the others may go far and are cut off, lest all others wait for them.
        cut = way.clamp(min=-_LONGEST, max=_LONGEST)
        ascends = (cut * now.lacking).sum(-1) > 0
        way = torch.where(ascends.unsqueeze(-1), cut, length.unsqueeze(-1) * way)
        rows, stepped, tried = _search(loop, rows, now, way, chosen & found.x.isfinite().all(-1))
        reads = torch.where(chosen, found.n_iter + tried + self._is_stiff, 0)
        loop.products = loop.products + reads
        loop.annealing.spend(reads)
        self._is_stiff = torch.where(chosen, self._is_stiff | (found.n_iter >= _MANY), self._is_stiff)
        self._judge(loop, chosen, stepped, (length < 1) | (tried > 1))
        return rows

    def _judge(self, loop: Loop, chosen: Tensor, stepped: Tensor, shortened: Tensor) -> None:
        """Have the problems wait for their next step whose last one, or this one, was worth little.

        A shortened step is on its way to where the next are not: what is left of the error says nothing then.
        """
        own = chosen & ~loop.annealing.under_way
        helped = stepped & (shortened | (loop.error <= _WORTH * self._before))
        self._interval = torch.where(own, torch.where(helped, 1.0, _PATIENCE * self._interval), self._interval)
        self._next = torch.where(own, self._age + self._interval, self._next)
        self._before = torch.where(own, loop.error, self._before)
        self._is_first = self._is_first & ~chosen


def _search(
    loop: Loop, rows: RowSums, now: "_Plan", way: Tensor, going: Bool[Tensor, " batch"]
) -> tuple[RowSums, Bool[Tensor, " batch"], Float[Tensor, " batch"]]:
    """Go along a way as far as the dual gains enough; give the sums there, who got anywhere, and the reads it took."""
    running, used, g = loop.running, loop.used, loop.g
    promised, lacked = (way * now.lacking).sum(-1), now.lacking.abs().sum(-1)
    going, rounding = going & (promised > 0), 4 * torch.finfo(loop.problem.problem.a.dtype).eps
    length = torch.ones_like(promised)
    here, stepped, tried = g, torch.zeros_like(going), torch.zeros_like(loop.products)
    for _ in range(_HALVINGS):
        if not bool(going.any()):
            break
        loop.running, loop.g = going, torch.where(going.unsqueeze(-1), here + length.unsqueeze(-1) * way, g)
        sums, edge = loop.exact_rows(), loop.edge_sum()
        there = _Plan(loop, sums)
        # Near the optimum the gain drowns in rounding, and what columns lack tells instead.
        gained = there.dual >= now.dual + _ENOUGH * length * promised
        better = there.lacking.abs().sum(-1) <= (1 - 0.1 * length) * lacked
        same = (there.dual - now.dual).abs() <= rounding * (1 + now.dual.abs())
        taken = going & (gained | (better & same))
        tried = tried + going.to(tried.dtype)
        g = torch.where(taken.unsqueeze(-1), loop.g, g)
        rows = RowSums(*(torch.where(taken.unsqueeze(-1), new, old) for new, old in zip(sums, rows, strict=True)))
        loop.edge = torch.where(taken, edge, loop.edge)
        going, stepped, length = going & ~taken, stepped | taken, length / 2
    loop.running, loop.used, loop.g = running, used, g
    return rows, stepped, tried


class _Plan:
    """The bordered plan whose rows are right, its real block by products."""

    def __init__(self, loop: Loop, rows: RowSums) -> None:
        edge = loop.edge_sum().unsqueeze(-1)
        inner = loop.f[:, :-1] + rows.moved
        f = torch.cat((inner, loop.f[:, -1:] - edge), dim=-1)
        self.block = loop.gibbs.products(inner + loop.a.log[:, :-1], loop.g[:, :-1], loop.running)
        self.a = loop.a.value[:, :-1]
        self.per_a, self.per_dummy = _inverse(self.a), _inverse(loop.a.value[:, -1:])
        self.kept = self.a * (1 - rows.fraction)
        self.lacked = (loop.a.log[:, -1:] + f[:, -1:] + loop.g[:, :-1] + loop.b.log[:, :-1]).exp()
        # Where mass has a price, the pair of the dummies is a pair like any other.
        logs = loop.a.log[:, -1:] + f[:, -1:] + loop.g[:, -1:] + loop.b.log[:, -1:]
        self.corner = logs.exp() if loop.marginals.priced else torch.zeros_like(logs)
        of_edge = self.kept.sum(-1, keepdim=True) + self.corner
        self.totals = torch.cat((rows.columns + self.lacked, of_edge), dim=-1)
        lacking = loop.b.value - self.totals
        self.lacking = lacking - self.totals * lacking.sum(-1, keepdim=True)
        self.dual = (loop.a.value * f).sum(-1) + (loop.b.value * loop.g).sum(-1)

    def schur(self, x: Tensor) -> Tensor:
        """Give S x."""
        inner, edge = x[:, :-1], x[:, -1:]
        product, back = self.block.sandwich(inner, self.per_a, self.per_a * self.kept * edge)
        z = self.per_a * (product + self.kept * edge)
        dummy = self.per_dummy * ((self.lacked * inner).sum(-1, keepdim=True) + self.corner * edge)
        real = back + self.lacked * dummy
        of_edge = (self.kept * z).sum(-1, keepdim=True) + self.corner * dummy
        return self.totals * x - torch.cat((real, of_edge), dim=-1)

    def diagonal(self, exact: Bool[Tensor, " batch"]) -> Tensor:
        """Give the diagonal of S, by a read of the kernel, or its first term, which is near it on most plans.

        Near a matching it is not: what is left of the diagonal then spans decades.
        """
        near = torch.where(self.totals > 0, self.totals, 1.0)
        if not bool(exact.any()):
            return near
        real = self.block.squares(self.per_a) + self.lacked.square() * self.per_dummy
        edge = (self.kept.square() * self.per_a).sum(-1, keepdim=True) + self.corner.square() * self.per_dummy
        diagonal = torch.maximum(self.totals - torch.cat((real, edge), dim=-1), 1e-6 * near)
        return torch.where(exact.unsqueeze(-1), diagonal, near)


def _inverse(weights: Tensor) -> Tensor:
    return torch.where(weights > 0, 1 / torch.where(weights > 0, weights, 1.0), 0.0)
