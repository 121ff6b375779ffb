# %% [markdown]
# # Certificates: what an iterate proves
#
# `certificate()` turns whatever a solver has reached into two numbers that hold the true optimum between them, also
# where it was stopped early; the cost of an early plan by itself may lie on either side.
#
# An entropic solve of a partial problem is stopped after ever more sweeps and asked each time what it can prove. The
# exact linear programme, solved once, is the judge.

# %%
import warnings

import torch
from matplotlib.figure import Figure

import partialot

generator = torch.Generator().manual_seed(0)
source, target = (torch.rand(80, 2, generator=generator, dtype=torch.float64) for _ in range(2))
target = 0.8 * target + torch.tensor([0.6, 0.1])
cost = torch.cdist(source, target).square()
MASS = 0.8
exact = partialot.solve(cost, mass=MASS).value.item()
print(f"the exact optimum: {exact:.5f}")

# %% [markdown]
# ## Stopped early
#
# A solve that misses its tolerance warns; here that is on purpose.

# %%
SWEEPS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
rows = []
for sweeps in SWEEPS:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", partialot.ConvergenceWarning)
        early = partialot.solve(cost, mass=MASS, reg=0.005, solver=partialot.Sinkhorn(max_iter=sweeps))
    proof = early.certificate()
    assert proof.dual.item() <= exact + 1e-12, "never above the optimum"
    assert proof.primal.item() >= exact - 1e-12, "never below it"
    assert (proof.plan.sum(1) <= 1 / 80 + 1e-12).all(), "the certified plan respects the weights"
    assert abs(proof.plan.sum().item() - MASS) < 1e-12, "and moves the mass"
    rows.append([proof.dual.item(), proof.primal.item(), early.value_linear.item(), early.marginal_error.item()])
    print(
        f"{sweeps:4} sweeps: proven {rows[-1][0]:8.5f} … {rows[-1][1]:.5f};"
        f" cost of the plan as it is {rows[-1][2]:.5f}, violation {rows[-1][3]:.1e}"
    )
lower, upper, naive, violation = torch.tensor(rows, dtype=torch.float64).T

# %% [markdown]
# ## What the cost alone would tell
#
# The plan of the first sweeps costs less than the optimum, which no feasible plan can: it takes more from the cheap
# points than they hold. Read as a distance, it is wrong, and nothing in the number says so.

# %%
print(f"after one sweep the plan seems to cost {naive[0] / exact:.0%} of the optimum")
assert naive[0] < exact
assert violation[0] > 0.05

# %% [markdown]
# ## What remains when it has converged
#
# More sweeps do not close the gap to nothing: the rest of it is what `reg` spreads over dearer pairs. Which of the two
# to change is therefore known: where the violation is small and the gap is not, lower `reg`.

# %%
gaps = {}
for reg in (0.02, 0.005, 0.001):
    gaps[reg] = partialot.solve(cost, mass=MASS, reg=reg).certificate().gap.item()
    print(f"reg {reg}: converged, gap {gaps[reg] / exact:.2%} of the optimum")
assert gaps[0.001] < gaps[0.005] < gaps[0.02]
assert gaps[0.001] < 0.02 * exact

# %%
figure = Figure(figsize=(6.8, 3.3), dpi=110, layout="constrained")
axes = figure.subplots()
axes.fill_between(SWEEPS, lower, upper, color="#1b6ca8", alpha=0.2, label="proven to hold the optimum", linewidth=0)
axes.plot(SWEEPS, upper, ".-", color="#1b6ca8", linewidth=1)
axes.plot(SWEEPS, lower, ".-", color="#1b6ca8", linewidth=1)
axes.plot(SWEEPS, naive, "x--", color="#c8553d", linewidth=1, label="cost of the plan as it is")
axes.axhline(exact, color="black", linestyle=":", label="exact optimum")
axes.set_xscale("log", base=2)
axes.set_xticks(SWEEPS, [str(sweeps) for sweeps in SWEEPS])
axes.set(xlabel="sweeps before it was stopped", ylabel="cost")
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False)
figure.savefig("certificates.png")
