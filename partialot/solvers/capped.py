"""Sinkhorn's algorithm for the capped problem: entropy on what moves only, marginals as inequalities.

The dual is maximised over f ≤ 0, g ≤ 0 and the price of mass s, in units of the regularisation:
Σ a_i f_i + Σ b_j g_j + M s − Σ_ij exp(f_i + g_j + s − c_ij). Each block has its exact maximum in closed form,

    f_i = min(0, f_i + log a_i − log Σ_j P_ij),   g_j likewise,   s = s + log M − log Σ_ij P_ij,

which is the usual sweep with ceilings (the scalings min(a / Kv, 1) of Benamou, Carlier, Cuturi, Nenna and Peyré 2015,
section 5, as potentials). Kept are potentials relative to the weights, F = f − log a and G = g − log b, whose ceilings
are −log a and −log b: they are what the other formulation has, so that each can start from the other's.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from partialot.kernels.primitives import RowSums, RowUpdate
from partialot.kernels.reference import safe_relaxation
from partialot.potentials import RealPotentials
from partialot.solvers.base import SolverResult
from partialot.solvers.loop import Loop


class CappedLoop(Loop):
    """One solve of capped problems; what dummies hold plays no part in it."""

    def _present(self) -> RealPotentials:
        """Read F, G and s off, none above its ceiling."""
        f, g, level = self.problem.real_potentials(self.f, self.g)
        return RealPotentials(torch.minimum(f, -self.a.log[:, :-1]), torch.minimum(g, -self.b.log[:, :-1]), level)

    def _row_pass(self, omega: Tensor) -> RowSums:
        self.used = omega
        f, g, level = self._present()
        log_a = self.a.log[:, :-1]
        update = RowUpdate(torch.full_like(f, -torch.inf), log_a, omega, -log_a)
        return self.gibbs.row_pass(f, g + level, update, self.running)

    def _measure(self, rows: RowSums) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """Give the violation of the optimality conditions and the mass that moves."""
        log_a = self.a.log[:, :-1]
        amounts = log_a + rows.log_total
        wrong = _still_to_go(amounts, torch.minimum(-rows.log_total, -log_a - self._present().f))
        error = wrong / self.mass + self.column_error
        return error.nan_to_num(nan=torch.inf), amounts.exp().sum(-1)

    def update(self, rows: RowSums) -> None:
        """Update the rows, the columns, then the mass, by the factor that `sum_rows` used."""
        log_b, (f, g, level) = self.b.log[:, :-1], self._present()
        f = f + rows.moved
        # Rows of which nothing is seen are far from their weight: no update is too long for them.
        log_a = self.a.log[:, :-1]
        f = torch.where((rows.log_total == -torch.inf) & log_a.isfinite(), -log_a, f)
        log_real = self._log_sum_columns(rows, f, g + level)
        idle = ~log_b.isfinite()
        log_total = torch.where(idle, 0.0, log_real - log_b)
        relaxed = -safe_relaxation(log_total, self.used.unsqueeze(-1)) * log_total
        moved = torch.where(idle, 0.0, torch.minimum(relaxed, -log_b - g))
        log_mass = torch.logsumexp(log_real + moved, dim=-1, keepdim=True)
        step = torch.where(log_mass.isfinite(), self.mass.log().unsqueeze(-1) - log_mass, 0.0)
        g, level = g + moved, level + step
        left = torch.minimum(-(log_total + moved + step), -log_b - g)
        self.column_error = _still_to_go(log_real + moved + step, left) / self.mass
        self._keep(RealPotentials(f, g, level))
        self._go_on()

    def _keep(self, potentials: RealPotentials) -> None:
        """Write F, G and s of the running problems as potentials of the problem with dummies."""
        f, g, level = potentials
        running, nothing = self.running.unsqueeze(-1), torch.zeros_like(level)
        self.f = torch.where(running, torch.cat((f + level, nothing), dim=-1), self.f)
        self.g = torch.where(running, torch.cat((g, -level), dim=-1), self.g)

    def _log_sum_columns(self, rows: RowSums, f: Tensor, g: Tensor) -> Float[Tensor, "batch m"]:
        """Give logarithms of the columns' sums, -inf for columns of weight 0 or without an allowed partner."""
        sums, log_b = rows.columns, self.b.log[:, :-1]
        info = torch.finfo(self.problem.problem.a.dtype)
        least, most = info.tiny / info.eps, info.max
        idle = ~log_b.isfinite()
        # A sum too small to see sends its column to the ceiling, whatever it is, unless the ceiling is far away.
        hidden = (sums < least) & (-log_b - self._present().g > log_b - math.log(least)) & ~idle
        lost = (sums.sum(-1) < least) & ~idle.all(-1)
        wild = self.running & (lost | (hidden | ~(sums < most)).any(-1))
        log_real = sums.log()
        if bool(wild.any()):
            inner = self.gibbs.column_log_sums(self.a.log[:, :-1] + f, wild)
            log_real[wild] = inner + log_b[wild] + g[wild]
        return torch.where(idle, -torch.inf, log_real)

    def _first_column_error(self) -> Float[Tensor, " batch"]:
        """Measure the columns of the starting point, which no update has made right; inf where they are far off."""
        used = self.used
        rows = self._row_pass(torch.zeros_like(self.mass))
        self.used = used
        log_b, amounts = self.b.log[:, :-1], rows.columns.log()
        left = torch.minimum(log_b - amounts, -log_b - self._present().g)
        wrong = _still_to_go(amounts, left) + (rows.columns.sum(-1) - self.mass).abs()
        return torch.where((rows.moved == 0).all(-1), wrong / self.mass, torch.inf)

    def _complete_rows(self, rows: RowSums, fresh: Tensor) -> None:
        """Give sources of weight 0, which took no part, the potentials that the others imply."""
        idle = fresh.unsqueeze(-1) & (self.a.value[:, :-1] <= 0) & rows.log_total.isfinite()
        log_total = torch.where(idle, rows.log_total, 0.0)
        self.f = torch.cat((self.f[:, :-1] - log_total, self.f[:, -1:]), dim=-1)

    def result(self) -> SolverResult:
        """Give potentials and plan."""
        f, g, level = self._present()
        idle = self.b.value[:, :-1] <= 0
        some = idle.any(-1)
        if bool(some.any()):
            implied = -level[some] - self.gibbs.column_log_sums(self.a.log[:, :-1] + f, some)
            g[some] = torch.where(idle[some] & implied.isfinite(), implied, g[some])
        self.running = torch.ones_like(self.running)
        self._keep(RealPotentials(f, g, level))
        total = self.problem.total.detach()
        moves = torch.where(self.problem.mass.detach() > 0, total, 0.0)
        plan = self.gibbs.plan(f + self.a.log[:, :-1] + moves.log().unsqueeze(-1), g + level)
        return SolverResult(self.f, self.g, plan, self.moved * moves, self.n_iter, self.error, self.status)


def _still_to_go(log_amounts: Tensor, steps: Tensor) -> Float[Tensor, " batch"]:
    """Give by how much the plan would change if nodes took the steps to their optima."""
    return ((log_amounts + steps).exp() - log_amounts.exp()).abs().nan_to_num(nan=0.0).sum(-1)
