"""The one place that chooses who computes a primitive; see `reference` for what each is."""

from types import ModuleType

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from partialot.communicator import ALONE, Communicator
from partialot.kernels import border, cpu, reference, triton
from partialot.kernels.points import CloudEntries, CloudKernels
from partialot.kernels.primitives import Entries, Iterate, Marginals, Measured, Prices, RowSums, RowUpdate
from partialot.kernels.stretch import Kernels, Limits, Rules, State, Stretch, pass_at

_CHEAP, _LAUNCHED = 1 << 17, 1 << 24
"""Entries of a problem whose sweeps are cheap: up to 50 microseconds each on a CPU, on a GPU, by reckoning, not by
measurement, no longer than it takes to launch them."""


def gains_by_storing(matrix: Tensor) -> bool:
    """Tell whether passes over a stored kernel are faster than those over the cost.

    On a CPU the exponentials cost more than the memory, by native kernels as in plain PyTorch; where they are free
    beside it, storing gains nothing.
    """
    return matrix.device.type == "cpu"


def sweeps_are_cheap(matrix: Float[Tensor, "batch n m"]) -> bool:
    """Tell whether dozens of sweeps cost less than one decision that is not made beside them, as steps need many."""
    entries = matrix.shape[-2] * matrix.shape[-1]
    return entries <= _CHEAP if cpu.available(matrix) else triton.available(matrix) and entries <= _LAUNCHED


def longest_stretch(device: torch.device, entries: int) -> int:
    """Give the most sweeps over so many entries in one call: a tenth of a second, for which nobody can interrupt it.

    That of a GPU is reckoned, not measured.
    """
    return (1 << (27 if device.type == "cpu" else 36)) // max(1, entries)


def multiplies(matrix: Float[Tensor, "batch n m"]) -> bool:
    """Tell whether products with a plan are one read each, stored or not."""
    return gains_by_storing(matrix) or triton.available(matrix)


def row_pass(entries: Entries, update: RowUpdate) -> RowSums:
    """See `reference.row_pass`."""
    cost = entries.prices.cost
    if cpu.available(cost):
        return cpu.row_pass(entries, update)
    # Nothing is stored on a GPU (`gains_by_storing`).
    if entries.stored is None and triton.available(cost):
        return triton.row_pass(entries, update)
    return reference.row_pass(entries, update)


def stretch(kernels: Kernels, marginals: Marginals, state: State, limits: Limits, rules: Rules) -> Stretch:
    """See `partialot.kernels.stretch`."""
    if cpu.available(kernels.prices.cost):
        return cpu.stretch(kernels, marginals, state, limits, rules)
    # As for a pass.
    if kernels.stored is None and triton.available(kernels.prices.cost):
        return triton.stretch(kernels, marginals, state, limits, rules)
    rows = row_pass(*pass_at(kernels, marginals, state))
    return Stretch(state, rows, torch.zeros_like(state.pace.omega))


def write_out(entries: Entries) -> None:
    """See `reference.write_out`."""
    _matrices(entries.prices.cost).write_out(entries)


def sandwich(
    matrix: Float[Tensor, "batch n m"],
    x: Float[Tensor, "batch m"],
    scale: Float[Tensor, "batch n"],
    offset: Float[Tensor, "batch n"],
) -> tuple[Float[Tensor, "batch n"], Float[Tensor, "batch m"]]:
    """See `reference.sandwich`."""
    return _matrices(matrix).sandwich(matrix, x, scale, offset)


def evaluated_sandwich(
    entries: Entries, x: Float[Tensor, "batch m"], scale: Float[Tensor, "batch n"], offset: Float[Tensor, "batch n"]
) -> tuple[Float[Tensor, "batch n"], Float[Tensor, "batch m"]]:
    """See `reference.evaluated_sandwich`."""
    who = triton if triton.available(entries.prices.cost) else reference
    return who.evaluated_sandwich(entries, x, scale, offset)


def column_log_sums(prices: Prices, rows: Float[Tensor, "batch n"]) -> Float[Tensor, "batch m"]:
    """See `reference.column_log_sums`."""
    return (triton if triton.available(prices.cost) else reference).column_log_sums(prices, rows)


def column_minima(cost: Float[Tensor, "batch n m"], rows: Float[Tensor, "batch n"]) -> Float[Tensor, "batch m"]:
    """See `reference.column_minima`."""
    return (triton if triton.available(cost) else reference).column_minima(cost, rows)


def row_minima(cost: Float[Tensor, "batch n m"], columns: Float[Tensor, "batch m"]) -> Float[Tensor, "batch n"]:
    """See `reference.row_minima`."""
    return (triton if triton.available(cost) else reference).row_minima(cost, columns)


def evaluates_on_the_way(features: Tensor) -> bool:
    """Tell whether passes over costs between such points write no cost to memory; see `Points`."""
    # The kernels hold costs in float32.
    return features.dtype != torch.float64 and triton.available(features)


def cloud_pass(entries: CloudEntries, update: RowUpdate) -> RowSums:
    """See `reference.row_pass`; the points are some that costs are evaluated between on the way."""
    return triton.cloud_pass(entries, update)


def cloud_stretch(kernels: CloudKernels, marginals: Marginals, state: State, limits: Limits, rules: Rules) -> Stretch:
    """See `partialot.kernels.stretch`."""
    return triton.cloud_stretch(kernels, marginals, state, limits, rules)


def cloud_column_log_sums(entries: CloudEntries) -> Float[Tensor, "batch m"]:
    """See `reference.column_log_sums`; of `entries.columns` nothing is read."""
    return triton.cloud_column_log_sums(entries)


def cloud_product(entries: CloudEntries, values: Float[Tensor, "#batch m k"]) -> Float[Tensor, "batch n k"]:
    """See `reference.cloud_product`."""
    return triton.cloud_product(entries, values)


def _matrices(matrix: Tensor) -> ModuleType:
    """Choose who writes a matrix, or multiplies with it."""
    return cpu if cpu.available(matrix) else triton if triton.available(matrix) else reference


def measure(marginals: Marginals, iterate: Iterate, rows: RowSums, ranks: Communicator) -> Measured:
    """See `border.measure`."""
    if ranks is ALONE and cpu.available(iterate.mass):
        return cpu.measure(marginals, iterate, rows)
    if ranks is ALONE and triton.available(iterate.mass):
        return triton.measure(marginals, iterate, rows)
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
    if ranks is ALONE and triton.available(iterate.mass):
        return triton.update(marginals, iterate, rows, log_columns, edge, omega, running, dtype)
    return border.update(marginals, iterate, rows, log_columns, edge, omega, running, dtype, ranks)
