# %% [markdown]
# # Point clouds whose matrix of costs does not fit
#
# A `PointCloud` evaluates costs block by block where they are needed, so solve, gradient and products with the plan
# take memory in proportion to the points, not to the pairs; the answer is the same.
#
# The sizes are modest, so that this runs in seconds. Measured is the largest tensor that any operation of PyTorch
# gives while the problem is solved, with every price stored and with none.

# %%
from typing import Literal

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import partialot


class LargestTensor(TorchDispatchMode):
    """Remembers the size in bytes of the largest tensor that an operation gave while the mode was on."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        sizes = [leaf.untyped_storage().nbytes() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.bytes = max(self.bytes, *sizes, 0)
        return result


# %% [markdown]
# ## Solve, differentiate, apply
#
# Two clouds in space, of which 80 % of the mass is to move. `apply` multiplies the plan with the target's points:
# divided by what each source sends, that is where it goes on average.


# %%
def solve(n: int, storage: Literal["matrix", "blocks"]) -> tuple[partialot.Solution, Tensor, Tensor, int]:
    """Give the solution, its gradient by the sources, where these go, and the bytes of the largest tensor."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(n, 3, generator=generator), torch.rand(n, 3, generator=generator) + 0.3
    x.requires_grad_()
    with LargestTensor() as largest:
        cloud = partialot.PointCloud(x, y, storage=storage)
        solution = partialot.solve(cloud, mass=0.8, reg=0.1, solver=partialot.Sinkhorn(tol=1e-3))
        (gradient,) = torch.autograd.grad(solution.value, x)
        goal = solution.detach().apply(y) / solution.marginal_a.detach().unsqueeze(-1)
    return solution, gradient, goal, largest.bytes


SIZES = (1000, 2000, 4000)
stored = [solve(n, "matrix")[3] for n in SIZES[:2]]
lazy = [solve(n, "blocks")[3] for n in SIZES]
for n, blocks, matrix in zip(SIZES, lazy, [*stored, None], strict=True):
    told = f"{matrix / 2**20:5.1f} MiB with a matrix" if matrix else "not tried with a matrix"
    print(f"{n} points a side: largest tensor {blocks / 2**20:4.1f} MiB in blocks, {told}")

# %% [markdown]
# A matrix grows with the square of the points. The block does not: it holds two million prices, 8 MiB, however many
# points there are.

# %%
assert stored[1] >= 4 * 2000**2
assert 3.5 < stored[1] / stored[0] < 4.5
assert lazy[-1] <= 2**23 < 4 * 4000**2

# %% [markdown]
# ## The same answer

# %%
(one, slope, goal, _), (other, other_slope, other_goal, _) = solve(2000, "matrix"), solve(2000, "blocks")
print(f"values {one.value.item():.6f} with a matrix and {other.value.item():.6f} in blocks")
assert abs(one.value - other.value) < 1e-5 * one.value
assert (slope - other_slope).abs().max() < 1e-3 * slope.abs().max()
assert (goal - other_goal).abs().max() < 1e-3

# %% [markdown]
# ## To 100,000 points a side
#
# The call is the same, and `storage` need not be named: a matrix of 40 GB is never written. The points themselves take
# 1.2 MB a side. What grows is time, since every sweep prices 10¹⁰ pairs: see the measured sweeps in
# [benchmarks](../benchmarks.md). What helps, in this order: float32; a `tol` of 1e-2 or 1e-3, as above; a `reg` no
# smaller than the question needs; a GPU, or `ShardedRows` over several ([sharding](../sharding.md)); `init=` from the
# solution of the step before, where points move little between solves. `certificate()` and `plan` write the matrix
# out: leave them.

# %%
figure = Figure(figsize=(6.4, 3.2), dpi=110, layout="constrained")
axes = figure.subplots()
many = torch.tensor([1000, 100_000])
axes.plot(
    many, 4 * many.double() ** 2 / 2**20, "--", color="#c8553d", linewidth=1, label="a matrix, reckoned: 4 n² bytes"
)
axes.plot(
    SIZES[:2], [size / 2**20 for size in stored], "o", color="#c8553d", label="largest tensor with a matrix, measured"
)
axes.plot(SIZES, [size / 2**20 for size in lazy], "o-", color="#1b6ca8", label="largest tensor in blocks, measured")
axes.set(xscale="log", yscale="log", xlabel="points a side", ylabel="MiB")
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False)
figure.savefig("past_memory.png")
