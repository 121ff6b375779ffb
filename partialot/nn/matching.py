"""Transport between two sets of features as a layer."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from partialot.geometry import PointCloud
from partialot.geometry.costs import CostFunction, check_cost
from partialot.gradients import Gradient, Implicit
from partialot.inputs import checks_its_inputs
from partialot.solution import Solution
from partialot.solvers import Solver
from partialot.transport import solve


class TransportMatching(nn.Module):
    """Matches two sets of features by transport; no parameters.

    Args:
        cost: "cosine" (1 − cos, in [0, 2]), "sqeuclidean", "euclidean", "dot", or a function from (*batch, n, d) and
            (*batch, m, d) to prices (*batch, n, m). Prices are those of a `PointCloud`: large ones are not stored.
        reg: Entropic regularisation in units of the cost; None = the exact linear programme, whose plan has no
            derivative.
        solver: See `partialot.solve`.
        gradient: See `partialot.solve`.

    Raises:
        ValueError: No cost has that name.
        TypeError: The cost is neither a name nor a function.
    """

    @checks_its_inputs
    def __init__(
        self,
        *,
        cost: str | CostFunction = "cosine",
        reg: float | None = 0.1,
        solver: Solver | None = None,
        gradient: Gradient | None = None,
    ) -> None:
        super().__init__()
        check_cost(cost)
        self.cost, self.reg, self.solver = cost, reg, solver
        self.gradient = Implicit() if gradient is None else gradient

    def forward(
        self,
        x: Float[Tensor, "*batch n d"],
        y: Float[Tensor, "*batch m d"],
        a: Float[Tensor, "*#batch n"] | None = None,
        b: Float[Tensor, "*#batch m"] | None = None,
        *,
        mass: float | Float[Tensor, "*#batch"] | None = None,
    ) -> Solution:
        """Match x with y.

        Under autocast, or with float16 and bfloat16 features, prices and transport are computed in float32.

        Args:
            x: Source features.
            y: Target features.
            a: Source weights; default uniform, total 1. A node of weight 0 is padding: its features may be anything,
                NaN and infinities, which are read as 0, among them.
            b: Target weights, likewise.
            mass: Total to move; None = balanced.
        """
        with torch.autocast(x.device.type, enabled=False):
            x, y = _at_least_single(x), _at_least_single(y)
            cloud = PointCloud(_with_readable_padding(x, a), _with_readable_padding(y, b), self.cost)
            weights = [None if w is None else w.to(x.dtype) for w in (a, b)]
            amount = mass.to(x.dtype) if isinstance(mass, Tensor) else mass
            return solve(cloud, *weights, mass=amount, reg=self.reg, solver=self.solver, gradient=self.gradient)

    def extra_repr(self) -> str:
        """Show the settings."""
        name = self.cost if isinstance(self.cost, str) else getattr(self.cost, "__name__", repr(self.cost))
        return f"cost={name}, reg={self.reg}, solver={self.solver}, gradient={self.gradient}"


def _at_least_single(features: Tensor) -> Tensor:
    return features.float() if features.dtype in (torch.float16, torch.bfloat16) else features


def _with_readable_padding(features: Tensor, weights: Tensor | None) -> Tensor:
    """Put zeros where a node of weight 0 has features that are no numbers; what a node with weight has is kept.

    Finite features of such nodes stay, since the derivative with respect to their weight depends on them.
    """
    if weights is None:
        return features
    shape = np.broadcast_shapes(weights.shape, features.shape[:-1])
    # Features that several problems share are padding where none of them has a weight.
    idle = weights.detach().ne(0).expand(shape).sum_to_size(features.shape[:-1]) == 0
    unreadable = idle & ~features.detach().isfinite().all(-1)
    return torch.where(unreadable.unsqueeze(-1), 0.0, features)
