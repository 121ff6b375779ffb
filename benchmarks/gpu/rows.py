"""The rows, in the order of their value: where time runs out, it runs out for the last."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from gpu import clouds, dense, precise, second
from gpu.bench import Bench
from gpu.card import path
from gpu.outcome import Outcome


@dataclass(frozen=True)
class Row:
    """One row of the table of targets.

    Attributes:
        name: To choose it by.
        number: In that table.
        seconds: That it is reckoned to take with its peers; less are not begun.
        measure: Measures it part by part.
    """

    name: str
    number: str
    seconds: float
    measure: Callable[[Bench], Iterator[Outcome]]


def _far(bench: Bench) -> Iterator[Outcome]:
    for shape in bench.sizes.far:
        yield from clouds.iterations(bench, shape, 0.110)


def _near(bench: Bench) -> Iterator[Outcome]:
    for shape, target in zip(bench.sizes.near, (0.075, 6.5), strict=True):
        yield from clouds.iterations(bench, shape, target)


ROWS = (
    Row("images", "1", 30, lambda bench: dense.passes(bench, bench.sizes.images, 0.060)),
    Row("many", "2", 30, lambda bench: dense.passes(bench, bench.sizes.many, 0.078)),
    Row("large", "3", 40, lambda bench: dense.passes(bench, bench.sizes.large, 0.300)),
    Row("memory", "3", 10, lambda bench: dense.memory(bench, bench.sizes.large, 0.05)),
    Row("partial", "11", 10, lambda bench: dense.partial_beside_balanced(bench, bench.sizes.images, 0.03)),
    Row("small", "4", 50, lambda bench: dense.small(bench, bench.sizes.small, (0.020, 0.040))),
    Row("clouds-far", "5", 50, _far),
    Row("clouds-near", "6", 60, _near),
    Row("solves-images", "1", 70, lambda bench: dense.solves(bench, bench.sizes.images, (None, 0.3))),
    Row("backward", "9", 50, lambda bench: second.implicit(bench, bench.sizes.images, 1.2)),
    Row("hessian", "10", 30, lambda bench: second.hessian(bench, bench.sizes.hessian, 0.5)),
    Row("precise", "7", 40, lambda bench: precise.small_reg(bench, 10.0)),
    Row("solves-many", "2", 40, lambda bench: dense.solves(bench, bench.sizes.many, (None,))),
    Row("certified", "8", 60, lambda bench: precise.certified(bench, 30.0)),
)


def measure(row: Row, bench: Bench) -> dict[str, Any]:
    """Measure one row; what stopped it is its error, what came before stays."""
    found: dict[str, Any] = {"row": row.name, "number": row.number, "parts": [], "error": None}
    found["path"] = path(torch.empty(1, 1, 1, device=bench.device))
    begin = bench.deadline.used
    try:
        for part in row.measure(bench):
            found["parts"].append(part.as_json())
    except Exception as error:
        found["error"] = f"{type(error).__name__}: {error}".strip().partition("\n")[0][:300]
    found["seconds"] = bench.deadline.used - begin
    if bench.device.type == "cuda":
        # What one row left to the allocator, another library cannot have.
        torch.cuda.empty_cache()
    return found
