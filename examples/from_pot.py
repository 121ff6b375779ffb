# %% [markdown]
# # Coming from POT
#
# The calls of POT beside ours, with the same numbers from both, and one case where they differ: costs of either sign.
#
# The problem: 30 and 40 points in the plane, uniform weights, mass 0.6 where it is partial. POT 0.9.7 is what these
# lines were written beside.

# %%
import numpy as np
import ot
import torch
from matplotlib.figure import Figure

import partialot

rng = np.random.default_rng(0)
x, y = rng.random((30, 2)), rng.random((40, 2)) + np.array([0.3, 0.0])
a, b = np.full(30, 1 / 30), np.full(40, 1 / 40)
M = np.asarray(ot.dist(x, y))
MASS, REG = 0.6, 0.02


def compare(name: str, theirs: object, ours: torch.Tensor, tolerance: float) -> None:
    """Require that two answers differ by rounding, or by what both were asked to stop at."""
    difference = float(np.abs(np.asarray(theirs) - ours.numpy()).max())
    assert difference < tolerance
    print(f"{name:34} differ by less than {tolerance:.0e}")


# %% [markdown]
# ## Side by side
#
# `partialot.solve` takes NumPy arrays and gives tensors. The order of the arguments is costs first, then weights;
# there is one function, and its arguments say which problem is meant:
#
# | POT | partialot |
# |---|---|
# | `ot.emd2(a, b, M)` | `solve(M, a, b).value` |
# | `ot.sinkhorn(a, b, M, reg)` | `solve(M, a, b, reg=reg).plan` |
# | `ot.partial.partial_wasserstein(a, b, M, m)` | `solve(M, a, b, mass=m).plan` |
# | `ot.partial.entropic_partial_wasserstein(a, b, M, reg, m)` | the same with `reg=reg, formulation="capped"` |
# | `ot.partial.partial_wasserstein_lagrange(a, b, M, reg_m)` | `solve(M, a, b, mass=Price(reg_m)).plan` |
# | `ot.solve_sample(X, Y, a, b, reg=reg)` | `solve(PointCloud(X, Y), a, b, reg=reg)` |

# %%
exact = partialot.solve(M, a, b)
compare("emd2", ot.emd2(a, b, M), exact.value, 1e-12)
entropic = partialot.solve(M, a, b, reg=REG)
compare("sinkhorn", ot.sinkhorn(a, b, M, REG, stopThr=1e-12, numItermax=20000), entropic.plan, 1e-9)
partial = partialot.solve(M, a, b, mass=MASS)
compare("partial_wasserstein2", ot.partial.partial_wasserstein2(a, b, M, m=MASS), partial.value, 1e-12)
capped = partialot.solve(M, a, b, mass=MASS, reg=REG, formulation="capped")
theirs = ot.partial.entropic_partial_wasserstein(a, b, M, REG, m=MASS, stopThr=1e-12, numItermax=2000)
compare("entropic_partial_wasserstein", theirs, capped.plan, 1e-9)
priced = partialot.solve(M, a, b, mass=partialot.Price(0.2))
theirs = np.asarray(ot.partial.partial_wasserstein_lagrange(a, b, M, reg_m=0.2))
compare("partial_wasserstein_lagrange, mass", theirs.sum(), priced.mass, 1e-12)
compare("partial_wasserstein_lagrange, cost", ((M - 0.2) * theirs).sum(), priced.value, 1e-12)
cloud = partialot.solve(partialot.PointCloud(x, y), a, b, reg=REG)
compare("solve_sample", ot.solve_sample(x, y, a, b, reg=REG, tol=1e-12, max_iter=20000).plan, cloud.plan, 1e-9)

# %% [markdown]
# ## What is spelt differently
#
# - Potentials are in the unit of the cost, beside the weights. POT's Sinkhorn returns scalings u and v, weights
#   included: f is reg · log(u / a), up to a constant.
# - `value` with `reg` is cost plus reg · KL(plan ‖ ab); `ot.sinkhorn2` returns the cost alone, which is `value_linear`.
# - `OTResult.value_linear`, `potentials`, `plan` and the marginals have the same names here.

# %%
_, log = ot.sinkhorn(a, b, M, REG, log=True, stopThr=1e-12, numItermax=20000)
in_our_units = REG * (np.log(log["u"]) - np.log(a))
f = entropic.potentials[0]
compare("potentials, centred", in_our_units - in_our_units.mean(), f - f.mean(), 1e-8)
compare("sinkhorn2", ot.sinkhorn2(a, b, M, REG, stopThr=1e-12, numItermax=20000), entropic.value_linear, 1e-9)

# %% [markdown]
# ## Costs of either sign
#
# Similarities taken as costs are often negative. A constant taken off all costs must not change what a plan of fixed
# mass moves. POT gives the meeting of the two dummy points a finite price, twice the largest cost, which is no
# obstacle once costs are negative; here that meeting is forbidden.

# %%
shifts = np.linspace(0.0, 3.0, 25)
moved = [np.sum(ot.partial.partial_wasserstein(a, b, M - shift, m=MASS)) for shift in shifts]
ours = partialot.solve(M - shifts[:, None, None], a, b, mass=MASS)
print(f"asked for {MASS}; moved at costs lowered by 3: POT {moved[-1]:.3f}, partialot {ours.mass[-1]:.3f}")
assert (ours.mass - MASS).abs().max() < 1e-12
assert (ours.plan - partial.plan).abs().max() < 1e-12

# %%
figure = Figure(figsize=(6.4, 3.0), dpi=110, layout="constrained")
axes = figure.subplots()
axes.plot(shifts, moved, color="#c8553d", label="ot.partial.partial_wasserstein")
axes.plot(shifts, ours.mass, color="#1b6ca8", label="partialot.solve")
axes.axhline(MASS, color="#808080", linestyle=":", label="asked for")
axes.axvspan(M.max(), 3.0, color="#b0b0b0", alpha=0.2, linewidth=0, label="all costs negative")
axes.set(xlabel="constant taken off all costs", ylabel="mass that the plan moves", ylim=(0, 1.1), xlim=(0, 3))
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False, loc="lower left")
figure.savefig("from_pot.png")
