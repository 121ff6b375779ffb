# %% [markdown]
# # Learning from positives and unlabelled points
#
# With some labelled positives, no labelled negatives and a known share of positives, partial transport from the
# positives to the unlabelled points says which of those are positive: the ones that receive.
#
# After Chapel, Alaya and Gasso (2020). The positives are carried into the unlabelled points; each of these can take no
# more than its own share, so the mass must spread over as many points as there are positives, and it goes to the
# nearest.

# %%
import torch
from matplotlib.figure import Figure
from torch import Tensor

import partialot

generator = torch.Generator().manual_seed(0)
PRIOR, POSITIVES, UNLABELLED = 0.4, 60, 300


def blob(count: int, x: float, y: float, size: float) -> Tensor:
    """Draw points around a centre."""
    points = torch.randn(count, 2, generator=generator, dtype=torch.float64)
    return torch.tensor([x, y]) + size * points


def positive(count: int) -> Tensor:
    """Draw positives: seven tenths of them dense, the rest thin."""
    return torch.cat([blob(count * 7 // 10, 0.0, 0.0, 0.25), blob(count - count * 7 // 10, 3.0, 0.0, 0.8)])


positives = positive(POSITIVES)
hidden = round(PRIOR * UNLABELLED)
unlabelled = torch.cat([positive(hidden), blob(UNLABELLED - hidden, 0.3, 1.1, 0.25)])
truth = torch.arange(UNLABELLED) < hidden

# %% [markdown]
# ## By transport
#
# Together the positives weigh as much as the share of positives, and all of that must move; of the unlabelled points,
# each of which weighs 1/300, what receives nothing is negative. No threshold is chosen: in the exact plan 120 points
# are full and the rest are empty.

# %%
a = torch.full((POSITIVES,), PRIOR / POSITIVES, dtype=torch.float64)
b = torch.full((UNLABELLED,), 1 / UNLABELLED, dtype=torch.float64)
plan = partialot.solve(partialot.PointCloud(positives, unlabelled), a, b, mass=PRIOR).plan
received = plan.sum(0) * UNLABELLED
assert ((received < 1e-9) | (received > 1 - 1e-9)).all()
found = {"partial transport": received > 0.5}

# %% [markdown]
# ## By classifiers
#
# The naive way takes the unlabelled points as negatives and trains a logistic regression, here on features of degree
# up to three. It is scored as it is, and also in the best light: told the share of positives, it may call its 120
# highest scores positive. So may the distance to the nearest positive, which prefers negatives close to the dense
# positives to positives of the thin part. A classifier whose features happen to fit, told the share, does as well as
# transport or better: what transport needs is neither features nor a threshold, but costs.


# %%
def features(points: Tensor) -> Tensor:
    """Give all products of the coordinates of degree up to three."""
    x, y = points.T
    return torch.stack([x**i * y**j for i in range(4) for j in range(4 - i)], dim=1)


inputs = torch.cat([features(positives), features(unlabelled)])
labels = torch.tensor([1.0] * POSITIVES + [0.0] * UNLABELLED, dtype=torch.float64)
weights = torch.zeros(inputs.shape[1], dtype=torch.float64, requires_grad=True)
optimiser = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")


def closure() -> Tensor:
    """Give the loss of the classifier with a little weight decay, and leave its derivative."""
    optimiser.zero_grad()
    logits = inputs @ weights
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels) + 1e-3 * weights.square().sum()
    loss.backward()
    return loss


optimiser.step(closure)
score = (features(unlabelled) @ weights).detach()
nearness = -torch.cdist(unlabelled, positives).amin(1)
found["naive classifier"] = score > 0
found["naive, told the share"] = score >= score.topk(hidden).values[-1]
found["nearest, told the share"] = nearness >= nearness.topk(hidden).values[-1]

accuracy = {name: (answer == truth).double().mean().item() for name, answer in found.items()}
for name, share in accuracy.items():
    print(f"{name:24} {share:.1%} of the unlabelled points told rightly")
assert accuracy["partial transport"] > 0.9
assert accuracy["partial transport"] > accuracy["naive classifier"] + 0.2
assert accuracy["partial transport"] > accuracy["nearest, told the share"] + 0.05

# %%
figure = Figure(figsize=(8.4, 2.9), dpi=110, layout="constrained")
shown = ("naive classifier", "partial transport")
for axes, name in zip(figure.subplots(1, 2, sharex=True, sharey=True), shown, strict=True):
    answer, wrong = found[name], found[name] != truth
    axes.scatter(*unlabelled[answer].T, s=12, color="#1b6ca8", label="called positive")
    axes.scatter(*unlabelled[~answer].T, s=12, color="#b0b0b0", label="called negative")
    axes.scatter(*unlabelled[wrong].T, s=60, facecolors="none", edgecolors="#c8553d", linewidths=0.8, label="wrongly")
    axes.scatter(*positives.T, s=26, marker="+", color="black", linewidths=0.8, label="labelled positive")
    axes.set_title(f"{name}: {accuracy[name]:.0%} right", fontsize=11)
    axes.set_aspect("equal")
    axes.set_axis_off()
figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=9)
figure.savefig("positive_unlabelled.png")
