# %% [markdown]
# # Matching the features of two photographs
#
# Partial transport matches the keypoints that are worth their price and leaves the rest, where balanced transport must
# match those that the other view does not show.
#
# The photograph is the one of Grace Hopper that matplotlib ships. The second view is made of it by a known turn, with
# part of it hidden, so every match can be judged.

# %%
import math

import kornia.feature as features
import matplotlib.cbook
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

import partialot

with Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as photograph:
    first = torch.from_numpy(np.array(photograph.convert("L").resize((256, 300)))).float() / 255

# %% [markdown]
# ## A second view
#
# Turned by 15° about the middle and drawn a tenth smaller; the right third is hidden behind a mirrored piece of the
# same picture, whose features look real and have no true partner. Light and noise differ as well.

# %%
HEIGHT, WIDTH = first.shape
MIDDLE = torch.tensor([WIDTH / 2, HEIGHT / 2])
cosine, sine = math.cos(math.radians(15)), math.sin(math.radians(15))
TURN = 0.9 * torch.tensor([[cosine, -sine], [sine, cosine]])
HIDDEN = 170


def warp(points: Tensor) -> Tensor:
    """Give where points (n, 2) of the first view, in pixels (x, y), are in the second."""
    return (points - MIDDLE) @ TURN.T + MIDDLE


rows, columns = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
origin = (torch.stack([columns, rows], dim=-1) - MIDDLE) @ torch.linalg.inv(TURN).T + MIDDLE
grid = 2 * origin / torch.tensor([WIDTH - 1, HEIGHT - 1]) - 1
second = torch.nn.functional.grid_sample(first[None, None], grid[None], align_corners=True)[0, 0]
second[:, HIDDEN:] = first.flip(0)[:, : WIDTH - HIDDEN]
second = (0.85 * second + 0.05 + 0.01 * torch.randn(second.shape, generator=torch.Generator().manual_seed(0))).clamp(
    0, 1
)

# %% [markdown]
# ## Keypoints and descriptors
#
# SIFT as kornia has it; the cost of a pair is one minus the cosine of its descriptors.

# %%
sift = features.SIFTFeature(num_features=250, device=torch.device("cpu"))
with torch.no_grad():
    (frames_a, _, describe_a), (frames_b, _, describe_b) = sift(first[None, None]), sift(second[None, None])
keys_a, keys_b = (features.get_laf_center(frames)[0] for frames in (frames_a, frames_b))
cost = 1 - torch.nn.functional.normalize(describe_a[0], dim=1) @ torch.nn.functional.normalize(describe_b[0], dim=1).T
distance = torch.cdist(warp(keys_a), keys_b)
distance[:, keys_b[:, 0] >= HIDDEN] = torch.inf
possible = int((distance.amin(1) < 3).sum())
print(f"{len(keys_a)} and {len(keys_b)} keypoints; {possible} of the first have a partner within 3 pixels")

# %% [markdown]
# ## Three ways to match
#
# Each keypoint weighs 1. How many the views have in common is not known to a matcher; a price is named instead: a pair
# is worth matching where its cosine is above 0.95, as long as keypoints are not matched twice. Exact plans are whole
# matches.


# %%
def pairs_of(plan: Tensor) -> Tensor:
    """Give the pairs (k, 2) that carry more than half a keypoint."""
    return (plan > 0.5).nonzero()


weights = torch.ones(len(keys_a)), torch.ones(len(keys_b))
mutual = (cost == cost.amin(1, keepdim=True)) & (cost == cost.amin(0))
pairs = {
    "mutual nearest neighbours": mutual.nonzero(),
    "balanced transport": pairs_of(partialot.solve(cost, *weights).plan),
    "partial transport": pairs_of(partialot.solve(cost, *weights, mass=partialot.Price(0.05)).plan),
}
right = {name: distance[found[:, 0], found[:, 1]] < 3 for name, found in pairs.items()}
precision = {name: good.double().mean().item() for name, good in right.items()}
for name, good in right.items():
    print(f"{name:26} {len(good):3} matches, {int(good.sum()):3} right: {precision[name]:.0%}")

# %% [markdown]
# Partial transport is not more clever than its descriptors: as many mutual nearest neighbours, the cheapest ones, are
# right about as often. What it adds is one problem in place of a rule and a threshold, with a price that means
# something, and derivatives, for descriptors that are trained ([the matching layer](matching_layer.md)).

# %%
found = pairs["mutual nearest neighbours"]
cheapest = cost[found[:, 0], found[:, 1]].argsort()[: len(pairs["partial transport"])]
as_many = right["mutual nearest neighbours"][cheapest].double().mean().item()
print(f"as many mutual nearest neighbours, the cheapest: {as_many:.0%} right")
assert precision["partial transport"] > 0.85 > 0.5 > precision["balanced transport"]
assert precision["partial transport"] > precision["mutual nearest neighbours"]
assert abs(precision["partial transport"] - as_many) < 0.1

# %%
figure = Figure(figsize=(9.6, 2.1), dpi=120, layout="constrained")
for axes, (name, found) in zip(figure.subplots(1, 3), pairs.items(), strict=True):
    axes.imshow(torch.cat([first, second], dim=1), cmap="gray", vmin=0, vmax=1)
    for (i, j), good in zip(found.tolist(), right[name].tolist(), strict=True):
        ends = torch.stack([keys_a[i], keys_b[j] + torch.tensor([WIDTH, 0])])
        axes.plot(*ends.T, color="#35c46a" if good else "#ff5a3c", linewidth=0.5)
    axes.set_title(f"{name}: {precision[name]:.0%} right", fontsize=9)
    axes.set_axis_off()
figure.savefig("matching_photographs.png")
