"""Newton steps of the reduced dual, for problems on which over-relaxed sweeps crawl.

With the rows' potentials at their optimum for given g, the dual is a concave function of g alone: its gradient is what
the columns lack, r = b − Σ_i P_i·, its Hessian −S with S = diag(Σ_i P_ij) − Pᵀ diag(1/a) P, the Schur complement of
the rows, border included. S δ = r is solved roughly by conjugate gradients, each product one read of the stored
kernel, and g moves along δ as far as the dual gains enough (truncated Newton: Kemertas, Jepson and Farahmand 2025).
"""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from partialot.kernels import dispatch
from partialot.kernels.conjugate_gradient import conjugate_gradient

if TYPE_CHECKING:
    from partialot.solvers.loop import Loop

_FIRST = 40
"""Sweeps at a problem's own regularisation before the first step."""

_EVERY = 4
"""Sweeps between two steps."""

_WORTH = 0.3
"""What of the error may be left between two steps for them to go on at that pace."""

_PATIENCE = 8.0
"""How many times longer a problem waits for its next step whose last one was worth less."""

_PRODUCTS = 60
"""Most products with the plan for one step."""

_ROUGHLY = 0.1
"""Relative residual at which a step's linear system is left."""

_HALVINGS = 6
"""How often a step is halved before it is given up."""

_ENOUGH = 1e-4
"""Part of what the gradient promises that the dual has to gain (Armijo)."""


_ENTRIES = 1 << 19
"""Entries squared at a time: a temporary that stays in a cache."""


class Newton:
    """Decides when a problem gets a step, and takes it."""

    def __init__(self, like: Float[Tensor, " batch"], sweeps: int) -> None:
        self._limit = sweeps - _PRODUCTS - _HALVINGS
        self._age, self._next = torch.zeros_like(like), torch.full_like(like, _FIRST)
        self._interval, self._before = torch.full_like(like, _EVERY), torch.full_like(like, torch.inf)

    def due(self, loop: "Loop", sweep: int) -> Bool[Tensor, " batch"]:
        """Tell which problems are to have a step now; the less the last one did, the later."""
        self._age = torch.where(loop.annealing.under_way, 0.0, self._age + 1)
        late = (self._age >= self._next) & loop.running
        if not bool(late.any()):
            return late
        helped = loop.error <= _WORTH * self._before
        self._interval = torch.where(late, torch.where(helped, _EVERY, _PATIENCE * self._interval), self._interval)
        self._next = torch.where(late, self._age + self._interval, self._next)
        self._before = torch.where(late, loop.error, self._before)
        return late & loop.gibbs.is_stored & (sweep + loop.products < self._limit)

    def step(self, loop: "Loop", chosen: Bool[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        """Move the potentials of the chosen problems, and tell which of them a step was found for."""
        now = _Plan(loop)
        lacking = torch.where(chosen.unsqueeze(-1), now.lacking, 0.0)
        found = conjugate_gradient(now.schur, lacking, now.diagonal(), tol=_ROUGHLY, max_iter=_PRODUCTS)
        promised = (found.x * lacking).sum(-1)
        here, f, g = loop.g, now.f, loop.g
        length, tried = torch.ones_like(promised), torch.zeros_like(loop.products)
        going, stepped = chosen & (promised > 0), torch.zeros_like(chosen)
        for _ in range(_HALVINGS):
            if not bool(going.any()):
                break
            loop.g = here + torch.where(going, length, 0.0).unsqueeze(-1) * found.x
            there = _Plan(loop)
            # Near the optimum the gain drowns in rounding, and what columns lack tells instead.
            gained = there.dual >= now.dual + _ENOUGH * length * promised
            better = there.lacking.abs().sum(-1) <= (1 - 0.1 * length) * now.lacking.abs().sum(-1)
            taken = going & (gained | better)
            f = torch.where(taken.unsqueeze(-1), there.f, f)
            g = torch.where(taken.unsqueeze(-1), loop.g, g)
            tried = tried + going.to(tried.dtype)
            going, stepped, length = going & ~taken, stepped | taken, length / 2
        loop.g = g
        loop.f = torch.where(stepped.unsqueeze(-1), f, loop.f)
        loop.products = loop.products + torch.where(chosen, found.n_iter + tried + 1, 0)
        return stepped


class _Plan:
    """The bordered plan whose rows are right, by the stored kernel."""

    def __init__(self, loop: "Loop") -> None:
        rows, edge = loop.exact_rows(), loop.edge_sum().unsqueeze(-1)
        inner = loop.f[:, :-1] + rows.moved
        self.f = torch.cat((inner, loop.f[:, -1:] - edge), dim=-1)
        self.matrix, base_f, base_g = loop.gibbs.stored()
        self.a = loop.a.value[:, :-1]
        self.per_a, self.per_dummy = _inverse(self.a), _inverse(loop.a.value[:, -1:])
        self.left = (inner - base_f + loop.a.log[:, :-1]).exp()
        self.right = (loop.g[:, :-1] - base_g).exp()
        self.kept = self.a * (1 - rows.fraction)
        self.lacked = (loop.a.log[:, -1:] + self.f[:, -1:] + loop.g[:, :-1] + loop.b.log[:, :-1]).exp()
        self.totals = torch.cat((rows.columns + self.lacked, self.kept.sum(-1, keepdim=True)), dim=-1)
        lacking = loop.b.value - self.totals
        self.lacking = lacking - self.totals * lacking.sum(-1, keepdim=True)
        self.dual = (loop.a.value * self.f).sum(-1) + (loop.b.value * loop.g).sum(-1)

    def schur(self, x: Tensor) -> Tensor:
        """Give S x."""
        inner, edge = x[:, :-1], x[:, -1:]
        scale, offset = self.left.square() * self.per_a, self.left * self.per_a * self.kept * edge
        product, back = dispatch.sandwich(self.matrix, self.right * inner, scale, offset)
        z = self.per_a * (self.left * product + self.kept * edge)
        dummy = self.per_dummy * (self.lacked * inner).sum(-1, keepdim=True)
        real = self.right * back + self.lacked * dummy
        return self.totals * x - torch.cat((real, (self.kept * z).sum(-1, keepdim=True)), dim=-1)

    def diagonal(self) -> Tensor:
        """Give the diagonal of S, by which products are preconditioned; plans near a matching need it."""
        weights = (self.left.square() * self.per_a).to(self.matrix.dtype).unsqueeze(-2)
        squares = torch.zeros_like(self.right)
        step = max(1, _ENTRIES // max(1, self.matrix.shape[0] * self.matrix.shape[2]))
        for start in range(0, self.matrix.shape[1], step):
            part = slice(start, start + step)
            squares += torch.bmm(weights[..., part], self.matrix[:, part].square()).squeeze(-2)
        real = squares * self.right.square() + self.lacked.square() * self.per_dummy
        edge = (self.kept.square() * self.per_a).sum(-1, keepdim=True)
        diagonal = self.totals - torch.cat((real, edge), dim=-1)
        floor = 1e-6 * torch.where(self.totals > 0, self.totals, 1.0)
        return torch.maximum(diagonal, floor)


def _inverse(weights: Tensor) -> Tensor:
    return torch.where(weights > 0, 1 / torch.where(weights > 0, weights, 1.0), 0.0)
