"""What the card does at best, measured: the floors of all rows follow from these numbers and no others."""

import importlib.util
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import torch
from timing import Clock, gather
from torch import Tensor

from gpu.clock import on_device, waited


@dataclass(frozen=True)
class Probe:
    """One thing that is timed.

    Attributes:
        name: What it tells of the card.
        unit: Of the ceiling: "bytes/s", "1/s", "flop/s", or "s" for a time.
        amount: How much of it a run does: the ceiling is that over the time, or the time over that.
        run: Does it.
        clock: Times it.
    """

    name: str
    unit: str
    amount: float
    run: Callable[[], object]
    clock: Clock


@dataclass(frozen=True)
class Extent:
    """How much is read, computed and launched to measure ceilings.

    Attributes:
        numbers: Of float32 that are read and copied: far more than any cache holds.
        powers: That exponentials are taken of, over and over.
        rounds: How often.
        launches: In a row.
        barriers: In a row.
        side: Of the matrices that are multiplied.
    """

    numbers: int
    powers: int
    rounds: int
    launches: int
    barriers: int
    side: int


FULL = Extent(numbers=1 << 29, powers=1 << 21, rounds=1 << 8, launches=1000, barriers=1000, side=8192)
MINIATURE = Extent(numbers=1 << 14, powers=1 << 11, rounds=1, launches=3, barriers=3, side=32)


@dataclass(frozen=True)
class Ceilings:
    """The numbers that floors are made of, and all that was found beside them.

    Attributes:
        read: Bytes a second that are read and not written.
        exp2: Exponentials a second.
        tf32: Floating-point operations a second of products of float32 matrices.
        launch: Seconds from one launch of a kernel to the next.
        found: By the names of the probes: `ceiling`, `unit`, median and quartiles of the time; or `error`.
    """

    read: float
    exp2: float
    tf32: float
    launch: float
    found: dict[str, dict[str, float | str]] = field(default_factory=dict)


def measure(device: torch.device, extent: Extent, rounds: int) -> Ceilings:
    """Measure all ceilings, in turns; one that cannot be had is infinite, or 0 for a time, and bounds nothing."""
    probes, found = [], {}
    for probe in _probes(device, extent):
        try:
            probe.run()
            probes.append(probe)
        except Exception as error:
            found[probe.name] = {"error": f"{type(error).__name__}: {error}".partition("\n")[0], "unit": probe.unit}
    times = gather({one.name: partial(one.clock, one.run) for one in probes}, rounds, "ceilings")
    for one in probes:
        seconds = times[one.name]["median_ms"] / 1e3
        ceiling = seconds / one.amount if one.unit == "s" else one.amount / seconds
        found[one.name] = {"ceiling": ceiling, "unit": one.unit, **times[one.name]}

    def best(start: str, otherwise: float) -> float:
        values = [float(one["ceiling"]) for name, one in found.items() if name.startswith(start) and "ceiling" in one]
        return (min if otherwise == 0.0 else max)(values, default=otherwise)

    return Ceilings(
        best("read", math.inf), best("exp2", math.inf), best("matmul, TF32", math.inf), best("launch", 0.0), found
    )


def _probes(device: torch.device, extent: Extent) -> Iterator[Probe]:
    cold, wall = on_device(device), waited(device)
    x = torch.rand(extent.numbers, device=device)
    y = torch.empty_like(x)
    size, one = 4.0 * extent.numbers, torch.zeros(1, dtype=torch.int32, device=device)
    yield Probe("read, torch.sum", "bytes/s", size, x.sum, cold)
    yield Probe("copy, torch", "bytes/s", 2 * size, lambda: y.copy_(x), cold)
    yield Probe("launch from Python, torch", "s", extent.launches, partial(_repeat, partial(one.add_, 1), extent), wall)
    if importlib.util.find_spec("triton") is not None:
        yield from _probes_by_kernels(device, extent, x, y)
    for name, kind in (("bf16", torch.bfloat16), ("TF32", torch.float32)):
        square = torch.rand(extent.side, extent.side, device=device, dtype=kind)
        yield Probe(f"matmul, {name}", "flop/s", 2.0 * extent.side**3, partial(_multiply, square), cold)


def _probes_by_kernels(device: torch.device, extent: Extent, x: Tensor, y: Tensor) -> Iterator[Probe]:
    from gpu import kernels

    cold, wall, size = on_device(device), waited(device), 4.0 * extent.numbers
    cores = kernels.programs_of(device)
    sums = torch.empty(2 * cores, device=device)
    some = torch.rand(extent.powers, device=device)
    taken = float(extent.powers * extent.rounds * kernels.UNROLLED)
    one = torch.zeros(1, dtype=torch.int32, device=device)
    launch = partial(kernels.count, one)
    yield Probe("read, Triton", "bytes/s", size, partial(kernels.read, x, sums), cold)
    yield Probe("copy, Triton", "bytes/s", 2 * size, partial(kernels.copy, x, y, 2 * cores), cold)
    yield Probe("exp2, Triton", "1/s", taken, partial(kernels.powers, some, extent.rounds), cold)
    yield Probe("launch from Python, Triton", "s", extent.launches, partial(_repeat, launch, extent), wall)
    if device.type == "cuda":
        yield Probe("node of a CUDA graph", "s", extent.launches, _Recorded(launch, extent), cold)
    yield Probe("barrier of the grid", "s", extent.barriers, partial(_wait, device, extent.barriers, cores), cold)


class _Recorded:
    """Launches of a kernel as nodes of a graph, recorded when they are first run."""

    def __init__(self, launch: Callable[[], object], extent: Extent) -> None:
        self._launch, self._extent = launch, extent
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        if self._graph is None:
            self._launch()
            torch.cuda.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                _repeat(self._launch, self._extent)
        self._graph.replay()


def _repeat(launch: Callable[[], object], extent: Extent) -> None:
    for _ in range(extent.launches):
        launch()


def _wait(device: torch.device, rounds: int, programs: int) -> None:
    from gpu import kernels

    kernels.wait_for_all(torch.zeros(1, dtype=torch.int32, device=device), rounds, programs)


def _multiply(square: Tensor) -> Tensor:
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        return square @ square
    finally:
        torch.set_float32_matmul_precision(precision)
