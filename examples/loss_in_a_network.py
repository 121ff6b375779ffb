# %% [markdown]
# # Transport as the loss of a network
#
# A small generator learns a shape from points a seventh of which are wrong: with a balanced loss it learns the wrong
# points too, with a partial one it leaves them out.
#
# The generator maps noise to points in the plane. The data are an arc with noise, and a clump of outliers beside it.
# How well it does is scored on clean truth: how many of its points lie on the arc.

# %%
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from partialot.nn import TransportLoss

generator = torch.Generator().manual_seed(0)
POINTS, OUTLIERS, WIDTH = 60, 10, 0.08
CLUMP = torch.tensor([3.6, 1.6])


def draw() -> Tensor:
    """Give a batch of data, (70, 2), the arc's points first."""
    angle = 4 * torch.rand(POINTS, generator=generator)
    arc = torch.stack([angle.cos(), angle.sin()], dim=1) + WIDTH * torch.randn(POINTS, 2, generator=generator)
    clump = CLUMP + 0.15 * torch.randn(OUTLIERS, 2, generator=generator)
    return torch.cat([arc, clump])


def noise(count: int) -> Tensor:
    """Draw what the generator maps to points."""
    return 2 * torch.rand(count, 2, generator=generator) - 1


# %% [markdown]
# ## Two losses
#
# Every generated point must go somewhere, but not every data point must be met. So the generated points weigh 1 in
# all, the data 70/60, and a mass of 1 moves: a seventh of the data is free to stay. That share has to be known
# roughly, or learned ([the mass as a learned parameter](learning_the_mass.md)). The losses are exact linear
# programmes: `reg=None`. Their plan is the derivative by the costs, so the gradient needs no second solve.

# %%
WEIGHTS = {"balanced": 1.0, "partial": (POINTS + OUTLIERS) / POINTS}
LOSSES = {"balanced": TransportLoss(reg=None), "partial": TransportLoss(reg=None, mass=1.0)}


def train(name: str) -> tuple[nn.Module, list[float]]:
    """Give a generator trained with one of the losses, and the losses of its steps."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    a = torch.full((POINTS,), 1 / POINTS)
    b = torch.full((POINTS + OUTLIERS,), WEIGHTS[name] / (POINTS + OUTLIERS))
    criterion, history = LOSSES[name], []
    for _ in range(200):
        optimiser.zero_grad()
        loss = criterion(network(noise(POINTS)), draw(), a, b)
        loss.backward()
        optimiser.step()
        history.append(loss.item())
    return network, history


# %% [markdown]
# ## Scored on the truth


# %%
def score(points: Tensor) -> tuple[float, float]:
    """Give the share of points on the arc, and the share among the outliers."""
    on_arc = (points.norm(dim=1) - 1).abs() < 4 * WIDTH
    astray = (points - CLUMP).norm(dim=1) < 1.0
    return on_arc.float().mean().item(), astray.float().mean().item()


samples, scores = {}, {}
for name in LOSSES:
    network, history = train(name)
    with torch.no_grad():
        samples[name] = network(noise(400))
    scores[name] = score(samples[name])
    print(
        f"{name:8} {scores[name][0]:.0%} of the generated points on the arc, {scores[name][1]:.0%} among the outliers"
    )
    assert sum(history[-20:]) < 0.5 * sum(history[:20])
assert scores["partial"][0] > scores["balanced"][0] + 0.1
assert scores["partial"][1] < 0.02 < scores["balanced"][1]

# %%
data = torch.cat([draw() for _ in range(5)])
figure = Figure(figsize=(8.4, 2.6), dpi=110, layout="constrained")
for axes, (name, points) in zip(figure.subplots(1, 2, sharex=True, sharey=True), samples.items(), strict=True):
    axes.scatter(*data.T, s=6, color="#c8553d", alpha=0.5, label="data")
    axes.scatter(*points.T, s=6, color="#1b6ca8", label="generated")
    axes.set_title(f"{name}: {scores[name][0]:.0%} on the arc", fontsize=11)
    axes.set_aspect("equal")
    axes.set_axis_off()
figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=9)
figure.savefig("loss_in_a_network.png")
