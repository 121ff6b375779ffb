"""Conjugate gradients on a batch of symmetric positive semidefinite systems."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from partialot.communicator import ALONE, Communicator


class LinearSolution(NamedTuple):
    """What the iteration found: x, the relative residual it left, and the products it took."""

    x: Float[Tensor, "batch n"]
    residual: Float[Tensor, " batch"]
    n_iter: Int[Tensor, " batch"]


def conjugate_gradient(
    apply: Callable[[Tensor], Tensor],
    right: Float[Tensor, "batch n"],
    diagonal: Float[Tensor, "batch n"],
    *,
    tol: float | Float[Tensor, " batch"],
    max_iter: int | Int[Tensor, " batch"],
    reach: float = math.inf,
    ranks: Communicator = ALONE,
) -> LinearSolution:
    """Solve A x = right for each problem, preconditioned by the diagonal.

    Differs from SciPy's in three ways: every problem has its own step lengths and stops on its own; a direction of no
    curvature ends a problem instead of dividing by zero (A may be singular, `right` then has to be in its range); the
    best iterate is returned where rounding makes later ones worse.

    Args:
        apply: Product with A for the whole batch.
        right: Right-hand sides.
        diagonal: Diagonal of A, or anything positive near it.
        tol: Relative residual to reach, one for all or one for each.
        max_iter: Most products, likewise.
        reach: A problem ends with the first x for which √(Σ diagonal · x²) is larger: as far as whoever asks believes
            in the system (Steihaug 1983).
        ranks: Who else solves the same systems, whose products are collective: all go on while one has to.
    """
    x, rest = torch.zeros_like(right), right.clone()
    size = right.square().sum(-1).sqrt()
    scaled = rest / diagonal
    direction, energy = scaled.clone(), (rest * scaled).sum(-1)
    best, best_norm = x, size.clone()
    n_iter = torch.zeros_like(size, dtype=torch.int64)
    running = size > 0
    most = max_iter if isinstance(max_iter, int) else int(max_iter.max())
    for done in range(most):
        running = running & (done < max_iter)
        if not ranks.any(bool(running.any())):
            break
        product = apply(direction)
        curvature = (direction * product).sum(-1)
        running = running & (curvature > torch.finfo(right.dtype).eps * (direction.square() * diagonal).sum(-1))
        step = torch.where(running, energy / torch.where(running, curvature, 1.0), 0.0).unsqueeze(-1)
        x, rest = x + step * direction, rest - step * product
        norm = rest.square().sum(-1).sqrt()
        beyond = running & ((x.square() * diagonal).sum(-1) > reach**2)
        better = (norm < best_norm) | beyond
        best, best_norm = torch.where(better.unsqueeze(-1), x, best), torch.where(better, norm, best_norm)
        n_iter += running
        running = running & (norm > tol * size) & (norm < 1e3 * best_norm) & ~beyond
        scaled = rest / diagonal
        fresh = (rest * scaled).sum(-1)
        direction = scaled + (fresh / torch.where(energy > 0, energy, 1.0)).unsqueeze(-1) * direction
        energy = fresh
    return LinearSolution(best, best_norm / torch.where(size > 0, size, 1.0), n_iter)
