"""FlashSinkhorn, where it is installed: clouds and squared distances, balanced, on a GPU only."""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

INSTALLED = importlib.util.find_spec("flash_sinkhorn") is not None

_STEPS = 300
"""Of its conjugate gradients at most, its default."""


def serves(device: torch.device) -> bool:
    """Tell whether it can be asked."""
    return INSTALLED and device.type == "cuda"


def alternating(x: Tensor, y: Tensor, reg: float, *, tf32: bool = True) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Its solver whose updates see each other, in a fixed number of iterations; it stops by no error of marginals.

    Its settings are those of https://github.com/ot-triton-lab/flash-sinkhorn/blob/main/API.md. Its prices are
    |x − y|², as ours are, and its potentials likewise relative to the weights.

    Args:
        x: (n, d), on the GPU.
        y: (m, d), likewise.
        reg: Entropic regularisation.
        tf32: Whether features are rounded to 10 bits for the tensor cores, its default.
    """
    samples: Any = importlib.import_module("flash_sinkhorn").SamplesLoss

    def run(iterations: int) -> tuple[Tensor, Tensor]:
        loss = samples(
            loss="sinkhorn",
            backend="alternating",
            use_epsilon_scaling=False,
            eps=reg,
            n_iters=iterations,
            allow_tf32=tf32,
            potentials=True,
        )
        return loss(x, y)

    return run


def hessian(x: Tensor, y: Tensor, v: Tensor, potentials: tuple[Tensor, Tensor], reg: float, *, dense: bool) -> Tensor:
    """The second derivative of the value by x, times v, at given potentials.

    Args:
        x: (n, d), on the GPU.
        y: (m, d), likewise.
        v: (n, d), what is multiplied.
        potentials: Relative to uniform weights.
        reg: Entropic regularisation.
        dense: Whether the plan is written out, which it documents as faster up to 8192 points.
    """
    library: Any = importlib.import_module("flash_sinkhorn")
    weights = (one.new_full((len(one),), 1 / len(one)) for one in (x, y))
    f, g = library.geomloss_to_ott_potentials(*potentials, *weights, eps=reg)
    options = {"eps": reg, "use_dense_cg": dense, "max_cg_iter": _STEPS}
    return library.hvp_x_sqeuclid_from_potentials(x, y, f, g, v, **options)[0]
