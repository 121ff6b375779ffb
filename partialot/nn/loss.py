"""The price of transport as a loss."""

from abc import ABC, abstractmethod
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from partialot.geometry.costs import CostFunction
from partialot.gradients import Implicit
from partialot.inputs import checks_its_inputs
from partialot.nn.matching import TransportMatching
from partialot.solvers import Solver


class FeatureLoss(nn.Module, ABC):
    """A number for two sets of features, and how the numbers of a batch become a loss.

    Args:
        cost: As in `TransportMatching`.
        reg: Entropic regularisation in units of the cost; None = the exact linear programme.
        mass: Total to move; None = balanced. A call may override it.
        solver: See `partialot.solve`.
        reduction: "mean" or "sum" over the batch, or "none".

    Raises:
        ValueError: No cost or reduction has that name.
    """

    @checks_its_inputs
    def __init__(
        self,
        *,
        cost: str | CostFunction = "sqeuclidean",
        reg: float | None = 0.05,
        mass: float | None = None,
        solver: Solver | None = None,
        reduction: Literal["mean", "sum", "none"] = "mean",
    ) -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(
                f"`reduction` must be 'mean', 'sum' or 'none'. Found {reduction!r}. Pass 'none' for a value each."
            )
        self.matching = TransportMatching(cost=cost, reg=reg, solver=solver, gradient=Implicit())
        self.mass, self.reduction = mass, reduction

    @abstractmethod
    def values(
        self,
        x: Float[Tensor, "*batch n d"],
        y: Float[Tensor, "*batch m d"],
        a: Float[Tensor, "*#batch n"] | None,
        b: Float[Tensor, "*#batch m"] | None,
        mass: float | Float[Tensor, "*#batch"] | None,
    ) -> Float[Tensor, "*batch"]:
        """Give one number for each problem of the batch; arguments as in `forward`, the mass chosen."""

    def forward(
        self,
        x: Float[Tensor, "*batch n d"],
        y: Float[Tensor, "*batch m d"],
        a: Float[Tensor, "*#batch n"] | None = None,
        b: Float[Tensor, "*#batch m"] | None = None,
        *,
        mass: float | Float[Tensor, "*#batch"] | None = None,
    ) -> Float[Tensor, "*reduced"]:
        """Give the loss of x beside y.

        Args:
            x: Source features.
            y: Target features.
            a: Source weights, 0 for padding; default uniform, total 1.
            b: Target weights, likewise.
            mass: Overrides the layer's.
        """
        value = self.values(x, y, a, b, self.mass if mass is None else mass)
        if self.reduction == "none":
            return value
        return value.mean() if self.reduction == "mean" else value.sum()

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"mass={self.mass}, reduction={self.reduction}"


class TransportLoss(FeatureLoss):
    """What it costs to carry one set of features to another, `Solution.value`, differentiable in all inputs.

    Under `reg` it is least where x has shrunk towards the middle of y, not where x is y: see `SinkhornDivergence`.
    Arguments are those of `FeatureLoss`.
    """

    def values(
        self,
        x: Float[Tensor, "*batch n d"],
        y: Float[Tensor, "*batch m d"],
        a: Float[Tensor, "*#batch n"] | None,
        b: Float[Tensor, "*#batch m"] | None,
        mass: float | Float[Tensor, "*#batch"] | None,
    ) -> Float[Tensor, "*batch"]:
        """Give the price of carrying x to y."""
        return self.matching(x, y, a, b, mass=mass).value
