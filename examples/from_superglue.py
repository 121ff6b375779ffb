# %% [markdown]
# # Coming from SuperGlue's dustbins
#
# A learned dustbin score is a price of mass with its sign turned: the same plan comes out of `Price(-score)`, and
# asking for a number of matches instead gives a handle that means something.
#
# Sarlin et al. (2020, section 3.3) border a matrix of scores with a row and a column of one learned score α, the
# dustbins, and run Sinkhorn's algorithm on it. This is that definition in a few lines of our own, in the logarithmic
# domain.

# %%
import torch
from matplotlib.figure import Figure
from torch import Tensor

import partialot

generator = torch.Generator().manual_seed(0)
N, M, SHARED = 40, 50, 24
descriptors = torch.nn.functional.normalize(torch.randn(N, 32, generator=generator, dtype=torch.float64), dim=1)
others = torch.randn(M, 32, generator=generator, dtype=torch.float64)
others[:SHARED] = descriptors[:SHARED] * 32**0.5 + 0.5 * others[:SHARED]
scores = 12 * descriptors @ torch.nn.functional.normalize(others, dim=1).T


def dustbins(scores: Tensor, alpha: Tensor, iterations: int) -> Tensor:
    """Give the (n, m) part of the bordered plan; a keypoint weighs 1, each dustbin as much as the other side."""
    n, m = scores.shape
    bordered = alpha.expand(n + 1, m + 1).clone()
    bordered[:-1, :-1] = scores
    log_a = torch.tensor([1.0] * n + [m], dtype=scores.dtype).log()
    log_b = torch.tensor([1.0] * m + [n], dtype=scores.dtype).log()
    f, g = torch.zeros_like(log_a), torch.zeros_like(log_b)
    for _ in range(iterations):
        f = log_a - (bordered + g).logsumexp(1)
        g = log_b - (bordered + f[:, None]).logsumexp(0)
    return (bordered + f[:, None] + g).exp()[:-1, :-1]


# %% [markdown]
# ## The same numbers
#
# Costs are scores with their sign turned, `reg` is 1, every keypoint weighs 1. Adding α to all scores of a row changes
# no plan, so a border of α beside scores S is a border of 0 beside S − α: a pair is worth having where its cost is
# below −α.

# %%
ones = torch.ones(N, dtype=torch.float64), torch.ones(M, dtype=torch.float64)
alpha = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
theirs = dustbins(scores, alpha, iterations=2000)
ours = partialot.solve(-scores, *ones, mass=partialot.Price(-alpha), reg=1.0)
assert (ours.plan - theirs).abs().max() < 1e-7
print(f"plans differ by less than 1e-07; {ours.mass:.3f} of {SHARED} matches")

# %% [markdown]
# So do derivatives by α, of a loss on the plan: theirs go back through every iteration, ours solve one linear system.

# %%
truth = torch.arange(SHARED)
slopes = [torch.autograd.grad(-plan[truth, truth].log().sum(), alpha)[0] for plan in (theirs, ours.plan)]
print(f"derivative of the matching loss by the dustbin score: {slopes[0]:.6f} and {slopes[1]:.6f}")
assert abs(slopes[0] - slopes[1]) < 1e-6 * abs(slopes[0])

# %% [markdown]
# ## The exact relation
#
# Ask for mass K instead of naming α, with `mass=K`. The plan is that of the dustbin score
#
#     α = −λ − reg · log(K (n + m − K) / ((n − K) (m − K)))
#
# where λ is the `mass_price` of the solution: the logarithm is what the entropy of the dummy nodes pays, and vanishes
# with `reg`.

# %%
counts = torch.tensor([4.0, 12.0, 20.0, 24.0, 30.0, 36.0], dtype=torch.float64)
asked = partialot.solve(-scores, *ones, mass=counts, reg=1.0)
equivalent = -asked.mass_price - (counts * (N + M - counts) / ((N - counts) * (M - counts))).log()
for count, score, plan in zip(counts, equivalent, asked.plan, strict=True):
    difference = (dustbins(scores, score, iterations=2000) - plan).abs().max()
    assert difference < 1e-7
    print(f"{count:4.0f} matches asked for = dustbin score {score:6.3f}; plans differ by less than 1e-07")

# %% [markdown]
# ## Why ask for a mass
#
# A score that was learned on pictures of one kind moves another amount on pictures of another kind: here, where all
# scores are 2 higher, as after a change of the descriptors' temperature or offset. A mass stays what it is.

# %%
raised = partialot.solve(-(scores + 2), *ones, mass=partialot.Price(-alpha.detach()), reg=1.0).mass
steady = partialot.solve(-(scores + 2), *ones, mass=24.0, reg=1.0)
print(f"scores raised by 2: the same dustbin score moves {raised:.1f} where it moved {ours.mass:.1f}")
print(f"and a mass of 24 moves {steady.mass:.1f}, by the same plan as before")
assert raised > ours.mass + 2
assert (steady.plan - asked.plan[3]).abs().max() < 1e-7

# %%
grid = torch.linspace(-12, 14, 60, dtype=torch.float64)
curve = partialot.solve(-scores, *ones, mass=partialot.Price(-grid), reg=1.0).mass
figure = Figure(figsize=(6.4, 3.2), dpi=110, layout="constrained")
axes = figure.subplots()
axes.plot(grid, curve, color="#1b6ca8", label="mass that a dustbin score moves")
axes.plot(equivalent, counts, "o", color="#c8553d", label="score that a mass stands for")
axes.axhline(SHARED, color="#808080", linestyle=":", label="true matches")
axes.set(xlabel="dustbin score α = −price", ylabel="matches (mass of the plan)")
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False)
figure.savefig("from_superglue.png")
