"""The primitives by kernels in Triton, for NVIDIA GPUs; Triton is imported when the first of them is asked for.

Nothing here waits for the device, but that a stretch asks it once how long it may be. Set `TRITON_INTERPRET=1` before
Triton is imported and the functions of the modules take tensors on a CPU, slowly: that is how the tests run them.
"""

import functools
import importlib.util
import logging

import torch
from torch import Tensor

from partialot.kernels.points import CloudEntries, CloudKernels
from partialot.kernels.primitives import Entries, Iterate, Marginals, Measured, Prices, RowSums, RowUpdate
from partialot.kernels.stretch import Kernels, Limits, Rules, State, Stretch, pass_at

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

_log = logging.getLogger("partialot")


def available(tensor: Tensor) -> bool:
    """Tell whether the kernels take this tensor."""
    return tensor.device.type == "cuda" and tensor.dtype in _DTYPES and _serves(tensor.device)


@functools.cache
def _serves(device: torch.device) -> bool:
    """Tell whether Triton is installed, and compiles for this device."""
    if torch.version.hip is not None or torch.cuda.get_device_capability(device) < (8, 0):
        return False
    if importlib.util.find_spec("triton") is None:
        _log.warning(
            "The GPU's kernels need Triton. None is installed. "
            "Install it (pip install 'partialot[triton]'), or go on in plain PyTorch, several times slower."
        )
        return False
    return True


def row_pass(entries: Entries, update: RowUpdate) -> RowSums:
    """See `reference.row_pass`; entries come from costs only."""
    from partialot.kernels.triton import rows, wide

    fits = rows.fits(entries.prices.cost)
    return rows.row_pass(entries, update) if fits else wide.row_pass(entries, update)


def stretch(kernels: Kernels, marginals: Marginals, state: State, limits: Limits, rules: Rules) -> Stretch:
    """See `partialot.kernels.stretch`; entries come from costs only, and a stretch may end before its limits."""
    from partialot.kernels.triton import rows, stretch_large, stretch_small

    if stretch_small.fits(kernels.prices.cost):
        return stretch_small.stretch(kernels, marginals, state, limits, rules)
    if rows.fits(kernels.prices.cost):
        return stretch_large.stretch(kernels, marginals, state, limits, rules)
    # Rows so long that nobody waits for the host.
    return Stretch(state, row_pass(*pass_at(kernels, marginals, state)), torch.zeros_like(state.pace.omega))


def cloud_stretch(kernels: CloudKernels, marginals: Marginals, state: State, limits: Limits, rules: Rules) -> Stretch:
    """See `partialot.kernels.stretch`; a stretch may end before its limits."""
    from partialot.kernels.triton import stretch_large

    return stretch_large.cloud_stretch(kernels, marginals, state, limits, rules)


def write_out(entries: Entries) -> None:
    """See `reference.write_out`."""
    from partialot.kernels.triton import matrices

    matrices.write_out(entries)


def sandwich(matrix: Tensor, x: Tensor, scale: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """See `reference.sandwich`."""
    from partialot.kernels.triton import matrices

    return matrices.sandwich(matrix, x, scale, offset)


def evaluated_sandwich(entries: Entries, x: Tensor, scale: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """See `reference.evaluated_sandwich`."""
    from partialot.kernels.triton import products

    return products.evaluated_sandwich(entries, x, scale, offset)


def column_log_sums(prices: Prices, rows: Tensor) -> Tensor:
    """See `reference.column_log_sums`."""
    from partialot.kernels.triton import columns

    return columns.column_log_sums(prices, rows)


def column_minima(cost: Tensor, rows: Tensor) -> Tensor:
    """See `reference.column_minima`."""
    from partialot.kernels.triton import minima

    return minima.column_minima(cost, rows)


def row_minima(cost: Tensor, columns: Tensor) -> Tensor:
    """See `reference.row_minima`."""
    from partialot.kernels.triton import minima

    return minima.row_minima(cost, columns)


def cloud_pass(entries: CloudEntries, update: RowUpdate) -> RowSums:
    """See `reference.row_pass`."""
    from partialot.kernels.triton import cloud

    return cloud.row_pass(entries, update)


def cloud_column_log_sums(entries: CloudEntries) -> Tensor:
    """See `reference.column_log_sums`; of `entries.columns` nothing is read."""
    from partialot.kernels.triton import cloud

    return cloud.column_log_sums(entries)


def cloud_product(entries: CloudEntries, values: Tensor) -> Tensor:
    """See `reference.cloud_product`."""
    from partialot.kernels.triton import cloud_products

    return cloud_products.cloud_product(entries, values)


def measure(marginals: Marginals, iterate: Iterate, rows: RowSums) -> Measured:
    """See `border.measure`."""
    from partialot.kernels.triton import measuring

    return measuring.measure(marginals, iterate, rows)


def update(
    marginals: Marginals,
    iterate: Iterate,
    rows: RowSums,
    log_columns: Tensor | None,
    edge: Tensor,
    omega: Tensor,
    running: Tensor,
    dtype: torch.dtype,
) -> tuple[Iterate, Tensor]:
    """See `border.update`."""
    from partialot.kernels.triton import updating

    return updating.update(marginals, iterate, rows, log_columns, edge, omega, running, dtype)
