# %% [markdown]
# # The mass as a learned parameter
#
# How much should move can be learned like any weight: the derivative of the plan with respect to the mass flows
# through the solve, so a loss on matches teaches the share of points that have a partner.
#
# Each problem has 24 points a side. In every one, 15 source points reappear on the target side, moved a little; nine a
# side have no partner. For training, it is known which source points have one: a label for each, not a partner. The
# share 15/24 = 0.625 is never told.

# %%
import torch
from matplotlib.figure import Figure
from torch import Tensor

import partialot

generator = torch.Generator().manual_seed(0)
TRUTH, POINTS, REG = 15 / 24, 24, 0.02


def draw(batch: int) -> tuple[Tensor, Tensor]:
    """Give the costs of some problems, (batch, n, m), and which source points have a partner, (batch, n)."""
    source = torch.rand(batch, POINTS, 2, generator=generator, dtype=torch.float64)
    target = torch.rand(batch, POINTS, 2, generator=generator, dtype=torch.float64)
    target[:, :15] = source[:, :15] + 0.02 * torch.randn(batch, 15, 2, generator=generator, dtype=torch.float64)
    has_partner = (torch.arange(POINTS) < 15).expand(batch, POINTS)
    return torch.cdist(source, target), has_partner.double()


# %% [markdown]
# ## The derivative is right
#
# Before it is trusted: automatic differentiation beside central differences, of the training loss by the mass. The
# default gradient solves one linear system at the optimum (implicit differentiation) and stores no iterations.


# %%
def loss(cost: Tensor, has_partner: Tensor, mass: Tensor) -> Tensor:
    """Give the cross-entropy between what each source point sends, from 0 to 1, and whether it has a partner."""
    sent = (partialot.solve(cost, mass=mass, reg=REG).marginal_a * POINTS).clamp(1e-6, 1 - 1e-6)
    return torch.nn.functional.binary_cross_entropy(sent, has_partner)


problems = draw(8)
mass = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
(derivative,) = torch.autograd.grad(loss(*problems, mass), mass)
with torch.no_grad():
    difference = (loss(*problems, mass + 1e-5) - loss(*problems, mass - 1e-5)) / 2e-5
print(f"derivative by the mass: {derivative:.6f}; central difference: {difference:.6f}")
assert abs(derivative - difference) < 1e-4 * abs(difference)

# %% [markdown]
# ## Training
#
# The mass must stay between 0 and 1, so a logit is learned. New problems are drawn at every step.

# %%
histories = {}
for start in (0.2, 0.9):
    logit = torch.tensor(start, dtype=torch.float64).logit().requires_grad_()
    optimiser = torch.optim.Adam([logit], lr=0.2, betas=(0.5, 0.9))
    history = []
    for _ in range(30):
        optimiser.zero_grad()
        loss(*draw(8), logit.sigmoid()).backward()
        optimiser.step()
        history.append(logit.sigmoid().item())
    histories[start] = history
    learned = sum(history[-10:]) / 10
    print(f"from {start}: learned {learned:.3f}, truth {TRUTH:.3f}")
    assert abs(learned - TRUTH) < 0.03

# %% [markdown]
# ## What it is worth
#
# On problems never seen, points told rightly to have a partner or none, at the learned mass and at a mass of all there
# is (balanced transport tells nothing: every point sends everything).

# %%
cost, has_partner = draw(64)
for name, amount in (("learned", learned), ("all", 1.0)):
    sent = partialot.solve(cost, mass=amount, reg=REG).marginal_a * POINTS
    right = ((sent > 0.5) == (has_partner > 0.5)).double().mean()
    print(f"mass {name:7} ({amount:.2f}): {right:.0%} told rightly")
    assert right > 0.85 if name == "learned" else right < 0.7

# %%
figure = Figure(figsize=(6.4, 3.0), dpi=110, layout="constrained")
axes = figure.subplots()
for start, colour in zip(histories, ("#1b6ca8", "#c8553d"), strict=True):
    axes.plot([start, *histories[start]], color=colour, label=f"from {start}")
axes.axhline(TRUTH, color="#808080", linestyle=":", label="share with a partner")
axes.set(xlabel="step", ylabel="mass", ylim=(0, 1))
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False)
figure.savefig("learning_the_mass.png")
