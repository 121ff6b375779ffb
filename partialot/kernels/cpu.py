"""The primitives by the native kernels, for float32 and float64 on a CPU."""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from partialot.kernels import native
from partialot.kernels.primitives import Entries, Prices, RowSums, RowUpdate, Source

_SUFFIX = {torch.float32: "f32", torch.float64: "f64"}


def available(matrix: Tensor) -> bool:
    """Tell whether the native kernels take this matrix."""
    return matrix.device.type == "cpu" and matrix.dtype in _SUFFIX and native.library() is not None


def row_pass(entries: Entries, update: RowUpdate) -> RowSums:
    """See `reference.row_pass`."""
    log_total, fraction, moved = (torch.empty_like(entries.rows) for _ in range(3))
    found = RowSums(log_total, fraction, moved, torch.empty_like(entries.columns))
    _call("row_pass", entries, update, found)
    return found


def write_out(entries: Entries) -> None:
    """See `reference.write_out`."""
    _call("write_out", entries)


def sandwich(matrix: Tensor, x: Tensor, scale: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """See `reference.sandwich`."""
    nothing = x.new_zeros(matrix.shape[0])
    source = torch.full((matrix.shape[0],), int(Source.STORED), dtype=torch.int8)
    entries = Entries(Prices(matrix, nothing, nothing), matrix, source, offset, x)
    y, z = torch.empty_like(offset), torch.empty_like(x)
    _call("sandwich", entries, (x, scale, offset), (y, z))
    return y, z


def _call(name: str, entries: Entries, *vectors: Sequence[Tensor]) -> None:
    """Hand the addresses over; every vector is float64 and contiguous, or becomes so for the call."""
    prices, stored = entries.prices, entries.stored
    cost = prices.cost if prices.cost[:1].is_contiguous() else prices.cost.contiguous()
    batch, n, m = cost.shape
    stride = cost.stride(0) if batch > 1 else 0
    size = (ctypes.c_int64 * 5)(batch, n, m, stride, torch.get_num_threads())
    kept = [x.contiguous() for x in (prices.unit, prices.shift, entries.rows, entries.columns)]
    groups = [[x.contiguous() for x in group] for group in vectors]
    address = None if stored is None else ctypes.c_void_p(stored.data_ptr())
    function = getattr(native.library(), f"{name}_{_SUFFIX[cost.dtype]}")
    function(
        ctypes.c_void_p(cost.data_ptr()),
        address,
        ctypes.c_void_p(entries.source.data_ptr()),
        _addresses(kept),
        size,
        *(_addresses(group) for group in groups),
    )


def _addresses(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))
