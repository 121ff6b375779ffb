# %% [markdown]
# # The price of mass, and how to choose how much moves
#
# What the next unit of mass would cost, `mass_price`, is the slope of the cost as a function of the mass; where it
# leaps, the cheap matches are used up, and that is the mass to choose.
#
# Thirty points were moved a little; twelve more on each side have no partner. So the truth is a mass of 30/42.

# %%
import torch
from matplotlib.figure import Figure

import partialot

generator = torch.Generator().manual_seed(4)
shared = torch.rand(30, 2, generator=generator, dtype=torch.float64)
moved = shared + 0.02 * torch.randn(30, 2, generator=generator, dtype=torch.float64)
strangers = torch.rand(12, 2, generator=generator, dtype=torch.float64)
source = torch.cat([shared, strangers + torch.tensor([-1.2, 0.0])])
target = torch.cat([moved, strangers.flip(0) + torch.tensor([1.2, 0.0])])
cost = torch.cdist(source, target)
TRUTH = 30 / 42

# %% [markdown]
# ## A batch of masses
#
# One call solves the exact linear programme for many masses: costs and weights are shared by broadcasting.

# %%
masses = torch.linspace(0.02, 1.0, 50, dtype=torch.float64)
curve = partialot.solve(cost, mass=masses)
spent, price = curve.value, curve.mass_price
print(f"price of mass: {price[0]:.3f} at {masses[0]:.2f}, {price[34]:.3f} at {masses[34]:.2f}, {price[-1]:.3f} at 1")
assert (price.diff() > -1e-9).all(), "the cost is convex in the mass: its slope never falls"

# %% [markdown]
# ## The price is the slope
#
# Central differences of the cost say the same, without `reg` and with it. (Without, the curve is made of straight
# pieces, so the two ends must lie on the same piece; 0.31 and 0.45 do for steps this small.)

# %%
step = 1e-5
for reg in (None, 0.05):
    for mass in (0.31, 0.45):
        above, below = (partialot.solve(cost, mass=mass + sign * step, reg=reg).value for sign in (1, -1))
        slope, said = (above - below) / (2 * step), partialot.solve(cost, mass=mass, reg=reg).mass_price
        print(f"reg {reg}, mass {mass}: slope {slope:.6f}, mass_price {said:.6f}")
        assert abs(slope - said) < 1e-5 * said.abs() + 1e-7

# %% [markdown]
# ## The knee
#
# The price leaps where the last shared pair is used up. The largest leap between two neighbouring masses gives the
# mass to within the spacing of the grid.

# %%
leap = int(price.diff().argmax())
knee = (masses[leap] + masses[leap + 1]) / 2
print(f"the price leaps from {price[leap]:.3f} to {price[leap + 1]:.3f} at mass {knee:.3f}; the truth is {TRUTH:.3f}")
assert abs(knee - TRUTH) <= 0.02
sent = partialot.solve(cost, mass=knee).marginal_a * len(source)
shared_sent, strangers_sent = sent[:30].sum() / 30, sent[30:].sum() / 12
print(f"at the knee {shared_sent:.0%} of the shared points' mass moves, and {strangers_sent:.0%} of the strangers'")
assert shared_sent > 0.95
assert strangers_sent < 0.05

# %% [markdown]
# ## Naming a price instead of a mass
#
# Any price inside the leap moves the shared points and nothing else, without knowing how many there are. Price and
# mass are two handles of one family: asking for the mass that a price moved gives the same plan.

# %%
priced = partialot.solve(cost, mass=partialot.Price(float(price[leap] + price[leap + 1]) / 2))
asked = partialot.solve(cost, mass=priced.mass)
assert abs(priced.mass - TRUTH) < 1e-9
assert (priced.plan - asked.plan).abs().max() < 1e-9
print(f"moved by price: {priced.mass:.4f}; plans differ by less than 1e-09")

# %%
figure = Figure(figsize=(9.6, 3.2), dpi=110, layout="constrained")
left, right = figure.subplots(1, 2)
left.plot(masses, spent, color="#1b6ca8")
left.set_ylabel("cost of the cheapest plan")
right.step(masses, price, where="post", color="#c8553d")
right.set_ylabel("price of mass: the slope")
for axes in (left, right):
    axes.axvline(TRUTH, color="#808080", linestyle=":", linewidth=1.2)
    axes.set_xlabel("mass moved")
    axes.spines[["top", "right"]].set_visible(False)
right.annotate("30 of 42 points\nhave a partner", (TRUTH, 1.2), (0.3, 1.5), arrowprops={"arrowstyle": "->"})
figure.savefig("price_of_mass.png")
