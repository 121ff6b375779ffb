"""The primitives by the native kernels, for float32 and float64 on a CPU."""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from partialot.kernels import native
from partialot.kernels.border import range_of_sums
from partialot.kernels.primitives import Entries, Iterate, Marginals, Measured, Prices, RowSums, RowUpdate, Source
from partialot.kernels.stretch import Kernels, Limits, Pace, Progress, Rules, State, Stretch, Watch

_SUFFIX = {torch.float32: "f32", torch.float64: "f64"}


def available(matrix: Tensor) -> bool:
    """Tell whether the native kernels take this matrix."""
    return matrix.device.type == "cpu" and matrix.dtype in _SUFFIX and native.library() is not None


def row_pass(entries: Entries, update: RowUpdate) -> RowSums:
    """See `reference.row_pass`."""
    log_total, fraction, moved = (entries.rows.new_empty(entries.rows.shape) for _ in range(3))
    found = RowSums(log_total, fraction, moved, entries.columns.new_empty(entries.columns.shape))
    _call("row_pass", entries, update, found)
    return found


def write_out(entries: Entries) -> None:
    """See `reference.write_out`."""
    _call("write_out", entries)


def sandwich(matrix: Tensor, x: Tensor, scale: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """See `reference.sandwich`."""
    matrix, nothing = matrix.contiguous(), x.new_zeros(matrix.shape[0])
    source = matrix.new_full((matrix.shape[0],), int(Source.STORED), dtype=torch.int8)
    entries = Entries(Prices(matrix, nothing, nothing), matrix, source, offset, x)
    y, z = offset.new_empty(offset.shape), x.new_empty(x.shape)
    _call("sandwich", entries, (x, scale, offset), (y, z))
    return y, z


def stretch(kernels: Kernels, marginals: Marginals, state: State, limits: Limits, rules: Rules) -> Stretch:
    """See `partialot.kernels.stretch`."""
    cost = _rows_together(kernels.prices.cost)
    f, g = (torch.empty_like(side[:, :-1], memory_format=torch.contiguous_format) for side in state.iterate[:2])
    rows = RowSums(f, torch.empty_like(f), torch.empty_like(f), g)
    room = (torch.empty_like(f), torch.empty_like(g), torch.empty_like(f))
    # What a stretch changes is written in place.
    iterate, pace, progress, watch = ([x.clone(memory_format=torch.contiguous_format) for x in part] for part in state)
    measured, following = f.new_empty((3, len(f))), [torch.empty_like(x) for x in iterate]
    made, source, wild = torch.zeros_like(iterate[2]), kernels.source.clone(), torch.empty_like(kernels.source)
    given = (kernels.prices.unit, kernels.prices.shift, *(kernels.base or (f, g)), *room, marginals.log_a[:, :-1])
    weights = (marginals.a, marginals.log_a, marginals.b, marginals.log_b)
    vectors = (*given, *rows, *weights, *iterate, *measured, *following, *pace, *progress, *watch, *limits, made)
    kept = [x.contiguous() for x in vectors]
    getattr(_library(), f"stretch_{_SUFFIX[cost.dtype]}")(
        ctypes.c_void_p(cost.data_ptr()),
        None if kernels.stored is None else ctypes.c_void_p(kernels.stored.data_ptr()),
        ctypes.c_void_p(source.data_ptr()),
        ctypes.c_void_p(wild.data_ptr()),
        _addresses(kept),
        (ctypes.c_int64 * 6)(*_size(cost), marginals.priced),
        (ctypes.c_double * 15)(*range_of_sums(cost.dtype), *vars(rules).values()),
    )
    return Stretch(State(Iterate(*iterate), Pace(*pace), Progress(*progress), Watch(*watch)), rows, made)


def measure(marginals: Marginals, iterate: Iterate, rows: RowSums) -> Measured:
    """See `border.measure`."""
    found = Measured(*(torch.empty_like(iterate.mass) for _ in range(3)))
    given, size = _border(marginals, iterate)
    sums = [x.contiguous() for x in rows[:2]]
    _library().measure(_addresses(given), size, _addresses(sums), _addresses(found))
    return found


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
    given, size = _border(marginals, iterate)
    following = Iterate(*(x.clone() for x in given[4:]))
    wild = torch.empty_like(running)
    bounds = omega.new_tensor(range_of_sums(dtype))
    vectors = (rows.moved, rows.columns, log_columns, edge, omega, bounds)
    sums = [None if x is None else x.contiguous() for x in vectors]
    running = running.contiguous()
    _library().update(
        _addresses(given),
        size,
        _addresses(sums),
        ctypes.c_void_p(running.data_ptr()),
        _addresses(following),
        ctypes.c_void_p(wild.data_ptr()),
    )
    return following, wild


def _border(marginals: Marginals, iterate: Iterate) -> tuple[list[Tensor], ctypes.Array[ctypes.c_int64]]:
    vectors = (marginals.a, marginals.log_a, marginals.b, marginals.log_b, *iterate)
    batch, n, m = iterate.mass.shape[0], iterate.f.shape[1] - 1, iterate.g.shape[1] - 1
    size = (ctypes.c_int64 * 5)(batch, n, m, marginals.priced, torch.get_num_threads())
    return [x.contiguous() for x in vectors], size


def _library() -> ctypes.CDLL:
    library = native.library()
    assert library is not None
    return library


def _call(name: str, entries: Entries, *vectors: Sequence[Tensor | None]) -> None:
    """Hand the addresses over; every vector is float64 and contiguous, or becomes so for the call."""
    prices, stored = entries.prices, entries.stored
    # These two are written to or made here: a copy for the call would lose what it finds.
    assert stored is None or stored.is_contiguous()
    assert entries.source.is_contiguous()
    cost = _rows_together(prices.cost)
    size = (ctypes.c_int64 * 5)(*_size(cost))
    kept = [x.contiguous() for x in (prices.unit, prices.shift, entries.rows, entries.columns)]
    groups = [[None if x is None else x.contiguous() for x in group] for group in vectors]
    address = None if stored is None else ctypes.c_void_p(stored.data_ptr())
    function = getattr(_library(), f"{name}_{_SUFFIX[cost.dtype]}")
    function(
        ctypes.c_void_p(cost.data_ptr()),
        address,
        ctypes.c_void_p(entries.source.data_ptr()),
        _addresses(kept),
        size,
        *(_addresses(group) for group in groups),
    )


def _rows_together(cost: Tensor) -> Tensor:
    return cost if cost[:1].is_contiguous() else cost.contiguous()


def _size(cost: Tensor) -> tuple[int, int, int, int, int]:
    """Give the batch, the numbers of rows and columns, the elements between two problems, and the threads."""
    batch, n, m = cost.shape
    return batch, n, m, cost.stride(0) if batch > 1 else 0, torch.get_num_threads()


def _addresses(tensors: Sequence[Tensor | None]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(tensors))(*(None if x is None else x.data_ptr() for x in tensors))
