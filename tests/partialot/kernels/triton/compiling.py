"""Compiles for an H100, without one, what the functions of `partialot.kernels.triton` launch, and counts what came out.

Run by itself, since a process that interprets kernels cannot compile them:
`TRITON_INTERPRET=0 python -m tests.partialot.kernels.triton.compiling` prints one line of JSON.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from partialot.kernels import triton as kernels
from partialot.kernels.points import CloudEntries, Points
from partialot.kernels.primitives import Cloud, Entries, Iterate, Marginals, Prices, RowSums, RowUpdate
from partialot.kernels.stretch import Kernels, Limits, Pace, Progress, Rules, State, Watch

_TOOL = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


@dataclass(frozen=True)
class Compiled:
    """What one kernel became.

    Attributes:
        kernel: Its name.
        threads: Of a program.
        registers: Of a thread.
        stack: Bytes of a thread in slow memory: what its registers could not hold.
        shared: Bytes of a program on the multiprocessor.
        instructions: Of the innermost loop that reads a matrix ahead, or of the kernel, for each entry of a tile.
        powers: Hardware exponentials there, likewise.
        reads_ahead: Whether the next tile is on its way while this one is computed with.
        tensor_cores: Instructions that multiply matrices, anywhere in the kernel.
        pair_instructions: Of the outermost loop that takes exponentials, for each entry of a tile; 0 without one.
    """

    kernel: str
    threads: int
    registers: int
    stack: int
    shared: int
    instructions: float
    powers: float
    reads_ahead: bool
    tensor_cores: int
    pair_instructions: float


class _Driver:
    """Stands for a GPU that kernels are compiled for."""

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return device

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)


def compiled_by(launch: Callable[[], object]) -> list[Compiled]:
    """Compile what a function launches, without launching it."""
    found: list[Compiled] = []
    run = JITFunction.run

    def compile_only(kernel: Any, *given: Any, grid: Any, warmup: bool, **options: Any) -> Any:
        built = run(kernel, *given, grid=grid, warmup=True, **options)
        entries = options.get("BLOCK_N", 1) * options.get("BLOCK_M", 1) * options.get("PARTS", 1)
        found.append(_inspect(kernel.fn.__name__, built, entries * options.get("COLUMNS", 1)))
        return built

    driver.set_active(_Driver())  # pyright: ignore[reportArgumentType]
    with patch.object(JITFunction, "run", compile_only):
        launch()
    return found


def _inspect(name: str, built: Any, entries: int) -> Compiled:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(built.asm["cubin"])
        file.flush()
        usage, code = (
            subprocess.run([_TOOL, option, file.name], capture_output=True, check=True, text=True).stdout
            for option in ("-res-usage", "-sass")
        )
    lines = [(int(at, 16), text) for at, text in re.findall(r"/\*([0-9a-f]{4,})\*/\s+(.*?) ;", code)]
    body = next(_loops(lines, "LDGSTS"), [text for _, text in lines])
    pairs = (list(_loops(lines, "MUFU.EX2")) or [[]])[-1]
    threads = 32 * built.metadata.num_warps
    registers, stack = (int(re.findall(rf"{word}:(\d+)", usage)[0]) for word in ("REG", "STACK"))
    return Compiled(
        kernel=name,
        threads=threads,
        registers=registers,
        stack=stack,
        shared=built.metadata.shared,
        instructions=round(len(body) * threads / entries, 2),
        powers=round(sum("MUFU.EX2" in text for text in body) * threads / entries, 2),
        reads_ahead=any("LDGSTS" in text for text in body),
        tensor_cores=sum("HGMMA" in text for _, text in lines),
        pair_instructions=round(len(pairs) * threads / entries, 2),
    )


def _loops(lines: list[tuple[int, str]], instruction: str) -> Iterator[list[str]]:
    """Give the loops that have an instruction, the innermost first."""
    for at, text in lines:
        back = re.search(r"BRA\S*\s.*?0x([0-9a-f]+)", text)
        if back and int(back[1], 16) < at:
            body = [inner for place, inner in lines if int(back[1], 16) <= place <= at]
            if any(instruction in inner for inner in body):
                yield body


def _vector(*size: int) -> Tensor:
    return torch.empty(size, dtype=torch.float64)


def _row_pass(batch: int, n: int, m: int, dtype: torch.dtype = torch.float32, *, caps: bool = False) -> None:
    rows = _vector(batch, n + 1)[:, :-1]
    update = RowUpdate(_vector(batch, n), rows, _vector(batch), _vector(batch, n) if caps else None)
    kernels.row_pass(_entries(batch, n, m, dtype), update)


def _entries(batch: int, n: int, m: int, dtype: torch.dtype = torch.float32) -> Entries:
    # Never written to, large matrices take no memory.
    cost = torch.empty(batch, n, m, dtype=dtype)
    source = torch.empty(batch, dtype=torch.int8)
    prices = Prices(cost, _vector(batch), _vector(batch))
    return Entries(prices, torch.empty_like(cost), source, _vector(batch, n + 1)[:, :-1], _vector(batch, m))


def _sweep(batch: int, n: int, m: int) -> None:
    a, b, scalar = _vector(batch, n + 1), _vector(batch, m + 1), _vector(batch)
    marginals, at = Marginals(a, a, b, b, priced=False), Iterate(a, b, scalar, scalar, scalar, scalar)
    rows = RowSums(_vector(batch, n), _vector(batch, n), _vector(batch, n), _vector(batch, m))
    kernels.measure(marginals, at, rows)
    kernels.update(marginals, at, rows, None, scalar, scalar, scalar > 0, torch.float32)


def _stretch(batch: int, n: int, m: int, dtype: torch.dtype = torch.float32) -> None:
    a, b = _vector(batch, n + 1), _vector(batch, m + 1)
    one = torch.ones(batch, dtype=torch.float64)
    state = State(Iterate(a, b, *[one] * 4), Pace(*[one] * 5), Progress(*[one] * 3), Watch(*[one] * 4))
    prices, source = _entries(batch, n, m, dtype).prices, torch.ones(batch, dtype=torch.int8)
    rules = Rules(50, 3, 0.2, 8, 1.95, 1.4, 8, 16, 8, 16, 0.8, 0.6, 0.03)
    given = Kernels(prices, None, None, source), Marginals(a, a, b, b, priced=False)
    kernels.stretch(*given, state, Limits(*[one] * 6), rules)


def _pairs(n: int, m: int, d: int) -> CloudEntries:
    clouds = Cloud(torch.zeros(1, n, d), torch.zeros(1, m, d), squared=True, constant=0.0)
    source = torch.empty(1, dtype=torch.int8)
    return CloudEntries(Points.of(clouds), _vector(1), _vector(1), source, _vector(1, n), _vector(1, m))


def _cloud_product(d: int, k: int) -> None:
    kernels.cloud_product(_pairs(10000, 10000, d), torch.zeros(1, 10000, k))


def _cloud(n: int, m: int, d: int) -> None:
    entries = _pairs(n, m, d)
    kernels.cloud_pass(entries, RowUpdate(_vector(1, n), _vector(1, n), _vector(1), None))
    kernels.cloud_column_log_sums(entries)


def _sandwich(batch: int, n: int, m: int) -> None:
    given = _vector(batch, m), _vector(batch, n), _vector(batch, n)
    kernels.sandwich(torch.empty(batch, n, m), *given)


def _evaluated_sandwich(batch: int, n: int, m: int) -> None:
    given = _entries(batch, n, m), _vector(batch, m), _vector(batch, n), _vector(batch, n)
    kernels.evaluated_sandwich(*given)


CASES: dict[str, Callable[[], object]] = {
    "4 x 3600 x 3600": lambda: _row_pass(4, 3600, 3600),
    "4 x 3600 x 3600, capped": lambda: _row_pass(4, 3600, 3600, caps=True),
    "4 x 3600 x 3600, float16": lambda: _row_pass(4, 3600, 3600, torch.float16),
    "64 x 1024 x 1024": lambda: _row_pass(64, 1024, 1024),
    "256 x 64 x 64": lambda: _row_pass(256, 64, 64),
    "1 x 16384 x 16384": lambda: _row_pass(1, 16384, 16384),
    "1 x 2048 x 2048, float64": lambda: _row_pass(1, 2048, 2048, torch.float64),
    "1 x 300 x 20000": lambda: _row_pass(1, 300, 20000),
    "10000 points in 3 dimensions": lambda: _cloud(10000, 10000, 3),
    "10000 points in 64 dimensions": lambda: _cloud(10000, 10000, 64),
    "10000 points in 256 dimensions": lambda: _cloud(10000, 10000, 256),
    "10000 points in 784 dimensions": lambda: _cloud(10000, 10000, 784),
    "1 point": lambda: (_cloud(1, 1, 1), _cloud(1, 1, 9)),
    "3 dimensions, 4 vectors": lambda: _cloud_product(3, 4),
    "3 dimensions, 20 vectors": lambda: _cloud_product(3, 20),
    "64 dimensions, 1 vector": lambda: _cloud_product(64, 1),
    "64 dimensions, 64 vectors": lambda: _cloud_product(64, 64),
    "128 dimensions, 64 vectors": lambda: _cloud_product(128, 64),
    "784 dimensions, 64 vectors": lambda: _cloud_product(784, 64),
    "sandwich": lambda: _sandwich(4, 3600, 3600),
    "evaluated sandwich": lambda: _evaluated_sandwich(4, 3600, 3600),
    "evaluated sandwich, 64 x 1024 x 1024": lambda: _evaluated_sandwich(64, 1024, 1024),
    "write out": lambda: kernels.write_out(_entries(4, 3600, 3600)),
    "minima": lambda: (
        kernels.column_minima(torch.empty(4, 3600, 3600), _vector(4, 3600)),
        kernels.row_minima(torch.empty(4, 3600, 3600), _vector(4, 3600)),
    ),
    "columns": lambda: kernels.column_log_sums(_entries(4, 3600, 3600).prices, _vector(4, 3600)),
    "1 x 1 x 1": lambda: (_row_pass(1, 1, 1), _sandwich(1, 1, 1), _evaluated_sandwich(1, 1, 1), _sweep(1, 1, 1)),
    "sweep": lambda: _sweep(4, 3600, 3600),
    "stretch": lambda: _stretch(4, 3600, 3600),
    "64 x 64, stretch": lambda: _stretch(256, 64, 64),
    "128 x 128, stretch": lambda: _stretch(64, 128, 128),
    "100 x 40, float16, stretch": lambda: _stretch(64, 100, 40, torch.float16),
    "5 x 7, stretch": lambda: _stretch(64, 5, 7),
}

if __name__ == "__main__":
    sys.stdout.write(json.dumps({name: [asdict(one) for one in compiled_by(case)] for name, case in CASES.items()}))
