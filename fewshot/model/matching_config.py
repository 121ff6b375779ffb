"""What a transport problem between support and query consists of: every choice, with its reason."""

from dataclasses import dataclass
from typing import Literal

from fewshot.options import require, require_choices

TransportName = Literal["none", "full", "partial"]


@dataclass(frozen=True)
class MatchingConfig:
    """The transport problem, and how its plan becomes a map. The defaults are the paper's, where it gives any.

    Attributes:
        suppliers: Support nodes that have mass to give: `all`, the mask filtering the plan afterwards (the paper's
            words, and the better maps after training), or `foreground` only, each node as much as the object covers
            of it. Full transport needs `all`: with the object alone every query node would be filled alike.
        weights: How the totals are shared out over the nodes: `uniform`, or `cross`, in proportion to how a node
            resembles the other image's mean (DeepEMD). The paper is silent; a mass equal to an area, as it has it,
            suggests nodes that weigh 1. See `pose_problem` for the formula.
        mass_ratio: Mass moved, as a multiple of the object's size in the support, in nodes (partial transport only).
            The paper says that it follows that size; 1 is our reading.
        mass_fraction: A fixed share of the smaller total, in (0, 1], in place of the object's size (partial transport
            only); None for the paper's rule.
        annotation: What filters the plan: the support's mask at node size made `binary` at one half (the paper's
            word), but for objects that cover no node by half, or `soft`, the share of each node that is object.
        features: What is compared: features after the message flow (`post`, of which the paper says that matching
            benefits) or before it (`reduced`), or the frozen backbone's (`mid`, `high`).
        reg: Entropic regularisation in units of the cost 1 - cos, which lies in [0, 2]. The paper is silent; 0.1 gave
            better maps than 0.05 in our trials.
        max_iter: Sinkhorn iterations at most; the paper gives no number. 20 do in training.
        tol: Marginal error, relative to the mass moved, at which iterating stops; also that of the gradient's system.
        scale_map: Stretch each map to [0, 1] per image (`minmax`) or leave the flow as it is (`none`). The paper is
            silent; with `all` suppliers little mass lands on the object, and raw maps are nearly empty.
        grid: Nodes along the longer side that matching sees at most: larger grids are averaged down to it, which
            divides memory by the fourth power of the ratio, and the map is brought back bilinearly. None is the
            paper's: every node takes part. 30 is the choice for small memories.
        shots: With several supports, one problem for each and the mean of their maps (`pairwise`, as the prior's are
            averaged), or one problem with the nodes of all (`joint`). The paper is silent.
        detach: Let no gradient pass through the plan. The paper is silent; ours passes.
    """

    suppliers: Literal["all", "foreground"] = "all"
    weights: Literal["uniform", "cross"] = "uniform"
    mass_ratio: float = 1.0
    mass_fraction: float | None = None
    annotation: Literal["binary", "soft"] = "binary"
    features: Literal["post", "reduced", "mid", "high"] = "post"
    reg: float = 0.1
    max_iter: int = 50
    tol: float = 1e-3
    scale_map: Literal["minmax", "none"] = "minmax"
    grid: int | None = None
    shots: Literal["pairwise", "joint"] = "pairwise"
    detach: bool = False

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A field lies outside its range, or two exclude each other.
        """
        require_choices(self, "matching.")
        for name in ("reg", "max_iter", "tol", "mass_ratio"):
            found = getattr(self, name)
            require(found > 0, f"matching.{name}", "be positive", found)
        fraction, grid = self.mass_fraction, self.grid
        require(fraction is None or 0 < fraction <= 1, "matching.mass_fraction", "lie in (0, 1]", fraction)
        alone = fraction is None or self.mass_ratio == 1
        require(alone, "matching.mass_ratio", "be 1 where `mass_fraction` says how much moves", self.mass_ratio)
        require(grid is None or grid > 0, "matching.grid", "be positive, or None for every node", grid)
        # Suppliers that are the object already leave nothing for a filter to do.
        filtered = self.suppliers == "all" or self.annotation == "binary"
        require(filtered, "matching.annotation", "be 'binary' for foreground suppliers", self.annotation)
