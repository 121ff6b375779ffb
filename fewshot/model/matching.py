"""Partial optimal transport between the nodes of support and query: the paper's matching module."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from fewshot.model.nodes import confident_foreground, scale_to_unit

TransportName = Literal["none", "full", "partial"]


@dataclass(frozen=True)
class MatchingConfig:
    """The transport problem and how a map is made of its plan.

    Attributes:
        suppliers: Support nodes that have mass to give: all of them, the mask filtering the plan afterwards (the
            paper's words), or the object only (each node as much as the object covers of it).
        reg: Entropic regularisation in units of the cost 1 - cos, which lies in [0, 2].
        max_iter: Sinkhorn iterations at most.
        tol: Marginal error, relative to the mass moved, at which iterating stops.
        mass_ratio: Mass moved as a multiple of the object's size in the support.
        features: What is compared: features after the message flow (`post`) or before it (`reduced`), or the frozen
            backbone's (`mid`, `high`).
        scale_map: Stretch each map to [0, 1] per image (`minmax`) or leave the flow as it is (`none`).
        detach: Let no gradient pass through the plan.
    """

    suppliers: Literal["all", "foreground"] = "all"
    reg: float = 0.1
    max_iter: int = 50
    tol: float = 1e-3
    mass_ratio: float = 1.0
    features: Literal["post", "reduced", "mid", "high"] = "post"
    scale_map: Literal["minmax", "none"] = "minmax"
    detach: bool = False

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: `reg`, `max_iter`, `tol` or `mass_ratio` is not positive.
        """
        for name in ("reg", "max_iter", "tol", "mass_ratio"):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"`matching.{name}` must be positive. Found {getattr(self, name)}. Leave it out for the default."
                )
