"""Partial problems as balanced ones with a dummy node a side: what the peers are handed, and partialot is not."""

import torch
from torch import Tensor
from workload import Workload


def border(cost: Tensor, workload: Workload, corner: float) -> tuple[Tensor, Tensor]:
    """Give costs (batch, n, n) and the weights (n,) of either side; balanced problems as they are.

    Args:
        cost: (batch, nodes, nodes).
        workload: Whose mass decides.
        corner: Price between the dummies, which must not be paid.
    """
    weights = cost.new_full((workload.nodes,), 1.0 / workload.nodes)
    if workload.mass is None:
        return cost, weights
    bordered = torch.nn.functional.pad(cost, (0, 1, 0, 1))
    bordered[:, -1, -1] = corner
    return bordered, torch.cat([weights, weights.new_tensor([1.0 - workload.mass])])


def strip(plan: Tensor, workload: Workload) -> Tensor:
    """Give the part of a plan between the nodes of the problem itself."""
    return plan[:, : workload.nodes, : workload.nodes]
