# %% [markdown]
# # The matching layer of a detector-free matcher
#
# `TransportMatching` takes the place of the dual softmax between two grids of features, as in LoFTR: same network,
# same training, other layer; precision and recall of both are measured on pairs that were not trained on.
#
# LoFTR (Sun et al. 2021) compares every cell of a coarse grid of one image with every cell of another. Here the images
# are textures of 32 × 32 pixels with grids of 8 × 8 cells. The second view is shifted by up to three cells and a
# pixel, has other light, noise, and a square of another texture in front of it.

# %%
from collections.abc import Callable

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from partialot import Sinkhorn
from partialot.nn import TransportMatching

Layer = Callable[[Tensor, Tensor, Tensor], Tensor]
generator = torch.Generator().manual_seed(0)
CELLS, PIXELS = 8, 4


def draw(batch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Give two views (batch, 1, 32, 32) and which cells belong together, (batch, 64, 64)."""
    texture = torch.nn.functional.avg_pool2d(torch.randn(2, batch, 64, 64, generator=generator), 3, 1, 1) * 3
    first, second = texture[0, :, 16:48, 16:48].clone(), torch.empty(batch, 32, 32)
    rows, columns = torch.meshgrid(torch.arange(CELLS), torch.arange(CELLS), indexing="ij")
    together = torch.zeros(batch, CELLS, CELLS, CELLS, CELLS, dtype=torch.bool)
    limits = (-3, 4), (-3, 4), (0, 6), (0, 6), (0, 2), (0, 2)
    moves = torch.stack([torch.randint(*limit, (batch,), generator=generator) for limit in limits], dim=1)
    for k, (down, right, top, left, more_down, more_right) in enumerate(moves.tolist()):
        y, x = 16 + PIXELS * down + more_down, 16 + PIXELS * right + more_right
        second[k] = texture[0, k, y : y + 32, x : x + 32]
        hides = (slice(PIXELS * top, PIXELS * (top + 3)), slice(PIXELS * left, PIXELS * (left + 3)))
        second[k][hides] = texture[1, k][hides]
        i, j = rows - down, columns - right
        hidden = (i >= top) & (i < top + 3) & (j >= left) & (j < left + 3)
        seen = (i == i.clamp(0, CELLS - 1)) & (j == j.clamp(0, CELLS - 1)) & ~hidden
        together[k, rows[seen], columns[seen], i[seen], j[seen]] = True
    second = 0.8 * second + 0.3 + 0.2 * torch.randn(second.shape, generator=generator)
    return first.unsqueeze(1), second.unsqueeze(1), together.flatten(3).flatten(1, 2)


# %% [markdown]
# ## One network, two layers
#
# Both layers see the same cosines at the same temperature. Transport is told how much two views share: in training the
# true amount, in the test the average of the training, since there nothing is known.

# %%
transport = TransportMatching(cost="cosine", reg=0.1, solver=Sinkhorn(tol=1e-2))


def dual_softmax(x: Tensor, y: Tensor, mass: Tensor) -> Tensor:
    """Give the product of a softmax over rows and one over columns; there is no mass to tell it."""
    cosines = torch.nn.functional.normalize(x, dim=-1) @ torch.nn.functional.normalize(y, dim=-1).mT / 0.1
    return cosines.softmax(1) * cosines.softmax(2)


def partial_plan(x: Tensor, y: Tensor, mass: Tensor) -> Tensor:
    """Give the plan, scaled so that a cell that is wholly matched has 1."""
    return transport(x, y, mass=mass).plan * CELLS**2


def train(layer: Layer) -> tuple[nn.Module, Tensor]:
    """Give a network trained through a layer, and the share of cells that pairs had in common on average."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 24, 5, padding=2), nn.ReLU(), nn.Conv2d(24, 32, 8, stride=4, padding=2), nn.Flatten(2)
    )
    optimiser, shares = torch.optim.Adam(network.parameters(), lr=5e-3), []
    for _ in range(60):
        first, second, together = draw(8)
        shares.append(together.sum((1, 2)) / CELLS**2)
        found = layer(network(first).mT, network(second).mT, shares[-1])
        optimiser.zero_grad()
        (-found[together].clamp(min=1e-6).log().mean()).backward()
        optimiser.step()
    return network, torch.cat(shares).mean()


# %% [markdown]
# ## Scored
#
# A match is a pair that is the largest of its row and of its column, and above 0.2, the threshold of LoFTR. Here
# transport finds more at like precision; a lower threshold would raise the recall of either. Where two views share far
# less than the average that is asked for, the surplus is matched wrongly: the picture shows a pair that shares about
# the average.

# %%
first, second, together = draw(48)
scores, answers = {}, {}
for name, layer in (("dual softmax", dual_softmax), ("partial transport", partial_plan)):
    network, share = train(layer)
    with torch.no_grad():
        found = layer(network(first).mT, network(second).mT, share)
    best = (found == found.amax(1, keepdim=True)) & (found == found.amax(2, keepdim=True)) & (found > 0.2)
    right = (best & together).sum()
    scores[name], answers[name] = (right / best.sum(), right / together.sum()), best
    print(f"{name:18} precision {scores[name][0]:.0%}, recall {scores[name][1]:.0%}")
assert min(precision for precision, _ in scores.values()) > 0.75
assert scores["partial transport"][1] > scores["dual softmax"][1] + 0.03

# %%
shown = int((together.sum((1, 2)) / CELLS**2 - share).abs().argmin())
views = torch.cat([first[shown, 0], torch.full((32, 6), 2.0), second[shown, 0]], dim=1)
figure = Figure(figsize=(8.8, 2.5), dpi=110, layout="constrained")
for axes, (name, best) in zip(figure.subplots(1, 2), answers.items(), strict=True):
    axes.imshow(views, cmap="gray", vmin=-2, vmax=2)
    for i, j in best[shown].nonzero().tolist():
        x, y = ([PIXELS * (k % CELLS) + 1.5, PIXELS * (k // CELLS) + 1.5] for k in (i, j))
        colour = "#35c46a" if together[shown, i, j] else "#ff5a3c"
        axes.plot([x[0], y[0] + 38], [x[1], y[1]], color=colour, linewidth=0.8)
    axes.set_title(f"{name}: precision {scores[name][0]:.0%}, recall {scores[name][1]:.0%}", fontsize=10)
    axes.set_axis_off()
figure.savefig("matching_layer.png")
