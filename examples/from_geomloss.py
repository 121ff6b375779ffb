# %% [markdown]
# # Coming from GeomLoss
#
# `SamplesLoss("sinkhorn", p=2, blur=σ)` is half of `SinkhornDivergence(cost="sqeuclidean", reg=2 * σ**2)`; this page
# derives the factor, checks value and gradient against the definition, and shows what debiasing is for.
#
# GeomLoss is not needed to run this. Its documentation defines, for weights α, β that sum to 1, C(x, y) = |x − y|ᵖ / p
# and ε = blurᵖ:
#
#     OT(α, β) = min ⟨C, P⟩ + ε · KL(P ‖ α ⊗ β)  over plans P of α and β
#     S(α, β)  = OT(α, β) − OT(α, α) / 2 − OT(β, β) / 2
#
# That is written out here in a few lines, with a fixed large number of plain iterations.

# %%
import torch
from matplotlib.figure import Figure
from torch import Tensor

from partialot.nn import SinkhornDivergence, TransportLoss


def transport(a: Tensor, x: Tensor, b: Tensor, y: Tensor, p: int, blur: float) -> Tensor:
    """Give OT(α, β) by the definition, through its dual ⟨α, f⟩ + ⟨β, g⟩ at convergence."""
    cost = (x[:, None] - y).square().sum(-1) / 2 if p == 2 else torch.cdist(x, y)
    eps, f, g = blur**p, torch.zeros_like(a), torch.zeros_like(b)
    for _ in range(400):
        f = -eps * (b.log() + (g - cost) / eps).logsumexp(1)
        g = -eps * (a.log()[:, None] + (f[:, None] - cost) / eps).logsumexp(0)
    return a @ f + b @ g


def divergence(a: Tensor, x: Tensor, b: Tensor, y: Tensor, p: int, blur: float) -> Tensor:
    """Give S(α, β) by the definition."""
    within = transport(a, x, a, x, p, blur) + transport(b, y, b, y, p, blur)
    return transport(a, x, b, y, p, blur) - within / 2


# %% [markdown]
# ## The same numbers
#
# | GeomLoss | partialot |
# |---|---|
# | `SamplesLoss("sinkhorn", p=2, blur=s)(x, y)` | `SinkhornDivergence(cost="sqeuclidean", reg=2 * s**2)(x, y) / 2` |
# | `SamplesLoss("sinkhorn", p=1, blur=s)(x, y)` | `SinkhornDivergence(cost="euclidean", reg=s)(x, y)` |
# | `debias=False` | `TransportLoss` in place of `SinkhornDivergence` |
# | `loss(a, x, b, y)` | `loss(x, y, a, b)` |
# | `potentials=True` | `TransportMatching(...)(x, y).potentials` |
# | `backend="online"` | `PointCloud(x, y, storage="blocks")`, chosen by itself where the matrix is large |
#
# The factor: with |x − y|² in place of |x − y|² / 2 all costs double, so `reg` doubles too and the value is twice as
# large.

# %%
generator = torch.Generator().manual_seed(0)
x = torch.rand(30, 2, generator=generator, dtype=torch.float64, requires_grad=True)
y = 0.5 * torch.rand(40, 2, generator=generator, dtype=torch.float64) + 0.5
a = torch.rand(30, generator=generator, dtype=torch.float64) + 0.5
a, b = a / a.sum(), torch.full((40,), 1 / 40, dtype=torch.float64)
BLUR = 0.1
pairs = {
    "p=2": (divergence(a, x, b, y, 2, BLUR), SinkhornDivergence(reg=2 * BLUR**2)(x, y, a, b) / 2),
    "p=1": (divergence(a, x, b, y, 1, BLUR), SinkhornDivergence(cost="euclidean", reg=BLUR)(x, y, a, b)),
    "p=2, debias=False": (transport(a, x, b, y, 2, BLUR), TransportLoss(reg=2 * BLUR**2)(x, y, a, b) / 2),
}
for name, (defined, ours) in pairs.items():
    slopes = [torch.autograd.grad(value, x)[0] for value in (defined, ours)]
    error = (slopes[0] - slopes[1]).abs().max() / slopes[0].abs().max()
    assert abs(defined - ours) < 1e-7
    assert error < 1e-6
    print(f"{name:18} defined {defined:.7f}, ours {ours:.7f}; gradients differ by less than 1e-06 of their size")

# %% [markdown]
# ## What has no counterpart
#
# `reach` (marginals relaxed by a KL penalty) is not offered here. Partial transport answers the same need by an amount
# instead of a length: with `mass=0.7` the dearest three tenths are left out, wherever they lie.

# %%
far = torch.cat([x.detach(), torch.full((10, 2), 30.0, dtype=torch.float64)])
for mass in (None, 0.7):
    loss = SinkhornDivergence(reg=2 * BLUR**2, mass=mass)
    clean, soiled = loss(x.detach(), y).item(), loss(far, y).item()
    print(f"mass {mass}: {clean:.3f} without outliers, {soiled:.3f} with a quarter of the points far away")
    assert soiled > 100 * clean if mass is None else soiled < 0.2

# %% [markdown]
# ## What debiasing is for
#
# Points that follow the gradient of the loss come to rest inside their target without debiasing, and on it with it.
# The step is the weight's inverse times 0.4, so that every point moves at its own pace.

# %%
ends = {}
for name, loss in (("TransportLoss", TransportLoss(reg=0.03)), ("SinkhornDivergence", SinkhornDivergence(reg=0.03))):
    points = x.detach().clone()
    for _ in range(20):
        points.requires_grad_()
        (slope,) = torch.autograd.grad(loss(points, y), points)
        points = (points - 0.4 * len(points) * slope).detach()
    ends[name] = points
    ratio = points.std(0).mean() / y.std(0).mean()
    print(f"{name:18} spread of the points beside that of their target: {ratio:.2f}")
    assert ratio < 0.8 if name == "TransportLoss" else 0.9 < ratio < 1.1

# %%
figure = Figure(figsize=(7.6, 3.4), dpi=110, layout="constrained")
for axes, (name, points) in zip(figure.subplots(1, 2, sharex=True, sharey=True), ends.items(), strict=True):
    axes.scatter(*y.T, s=30, facecolors="none", edgecolors="#c8553d")
    axes.scatter(*x.detach().T, s=8, color="#b0b0b0")
    for start, end in zip(x.detach(), points, strict=True):
        axes.plot(*torch.stack([start, end]).T, color="#b0b0b0", linewidth=0.5)
    axes.scatter(*points.T, s=14, color="#1b6ca8")
    axes.set_title(name, fontsize=11)
    axes.set_aspect("equal")
    axes.set_axis_off()
figure.savefig("from_geomloss.png")
