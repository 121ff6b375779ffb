"""The one place that chooses who computes a primitive; see `reference` for what each is."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from partialot.communicator import ALONE, Communicator
from partialot.kernels import border, cpu, reference
from partialot.kernels.primitives import Entries, Iterate, Marginals, Measured, RowSums, RowUpdate
from partialot.kernels.stretch import Kernels, Limits, Rules, State, Stretch, first_pass

_CHEAP = 1 << 15
"""Entries of a problem whose sweeps are cheap: 10 microseconds each."""


def gains_by_storing(matrix: Tensor) -> bool:
    """Tell whether passes over a stored kernel are faster than those over the cost.

    On a CPU the exponentials cost more than the memory, by native kernels as in plain PyTorch; where they are free
    beside it, storing gains nothing.
    """
    return matrix.device.type == "cpu"


def sweeps_are_cheap(matrix: Float[Tensor, "batch n m"]) -> bool:
    """Tell whether dozens of sweeps cost less than one decision that is not made beside them, as steps need many."""
    return cpu.available(matrix) and matrix.shape[-2] * matrix.shape[-1] <= _CHEAP


def row_pass(entries: Entries, update: RowUpdate) -> RowSums:
    """See `reference.row_pass`."""
    return cpu.row_pass(entries, update) if cpu.available(entries.prices.cost) else reference.row_pass(entries, update)


def stretch(kernels: Kernels, marginals: Marginals, state: State, limits: Limits, rules: Rules) -> Stretch:
    """See `partialot.kernels.stretch`."""
    if cpu.available(kernels.prices.cost):
        return cpu.stretch(kernels, marginals, state, limits, rules)
    return first_pass(kernels, marginals, state)


def write_out(entries: Entries) -> None:
    """See `reference.write_out`."""
    if cpu.available(entries.prices.cost):
        cpu.write_out(entries)
    else:
        reference.write_out(entries)


def sandwich(
    matrix: Float[Tensor, "batch n m"],
    x: Float[Tensor, "batch m"],
    scale: Float[Tensor, "batch n"],
    offset: Float[Tensor, "batch n"],
) -> tuple[Float[Tensor, "batch n"], Float[Tensor, "batch m"]]:
    """See `reference.sandwich`."""
    return (cpu if cpu.available(matrix) else reference).sandwich(matrix, x, scale, offset)


def measure(marginals: Marginals, iterate: Iterate, rows: RowSums, ranks: Communicator) -> Measured:
    """See `border.measure`."""
    if ranks is ALONE and cpu.available(iterate.mass):
        return cpu.measure(marginals, iterate, rows)
    return border.measure(marginals, iterate, rows, ranks)


def update(
    marginals: Marginals,
    iterate: Iterate,
    rows: RowSums,
    log_columns: Float[Tensor, "batch m"] | None,
    edge: Float[Tensor, " batch"],
    omega: Float[Tensor, " batch"],
    running: Bool[Tensor, " batch"],
    dtype: torch.dtype,
    ranks: Communicator,
) -> tuple[Iterate, Bool[Tensor, " batch"]]:
    """See `border.update`."""
    if ranks is ALONE and cpu.available(iterate.mass):
        return cpu.update(marginals, iterate, rows, log_columns, edge, omega, running, dtype)
    return border.update(marginals, iterate, rows, log_columns, edge, omega, running, dtype, ranks)
