"""How the time of a solve grows with nodes, batch, 1/reg and mass: partialot and its peers, in one process, in turns.

Every point is a whole solve to the same violation, as in bench_cpu.py. A solver that gives no answer at a point is not
asked at the harder points behind it.

    python benchmarks/bench_scaling.py
    python benchmarks/bench_scaling.py --curves nodes --longest 3   # a quick look at the first points
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from comparison import Row, compare, show, title
from peers import methods
from record import arguments, keep
from workload import Workload, machine


@dataclass(frozen=True)
class Curve:
    """Workloads that differ in one field, from the easiest to the hardest."""

    along: str
    base: Workload
    values: tuple[float, ...]

    def points(self) -> Iterator[Workload]:
        """Each workload."""
        for value in self.values:
            yield replace(self.base, **{self.along: value})


_PARTIAL, _BALANCED = Workload(1, 256, 0.5, 0.05, 1e-3), Workload(1, 256, None, 0.05, 1e-3)
_NODES, _BATCH, _REG = (64, 128, 256, 512, 1024, 2048), (1, 4, 16, 64, 256), (0.2, 0.05, 0.02, 0.01, 0.005)
CURVES = (
    Curve("nodes", _PARTIAL, _NODES),
    Curve("nodes", _BALANCED, _NODES),
    Curve("batch", replace(_PARTIAL, nodes=64), _BATCH),
    Curve("batch", replace(_BALANCED, nodes=64), _BATCH),
    Curve("reg", _PARTIAL, _REG),
    Curve("reg", _BALANCED, _REG),
    Curve("mass", _PARTIAL, (0.1, 0.3, 0.5, 0.7, 0.9, 0.99)),
)


def follow(curve: Curve, rounds: int) -> Iterator[dict[str, object]]:
    """Measure the points of a curve in turn."""
    failed: set[str] = set()
    guesses: dict[str, int] = {}
    for workload in curve.points():
        # The capped formulation grows with nodes and batch; how it grows with 1/reg takes minutes a point.
        capped = curve.along in ("nodes", "batch")
        offered = {
            name: method for name, method in methods(workload) if name not in failed and (capped or not method.capped)
        }
        rows: dict[str, Row] = compare(workload, offered, rounds, guesses)
        failed |= {name for name, row in rows.items() if row["fault"] is not None}
        show(title(workload), rows)
        yield {"workload": asdict(workload), "results": rows}


def main() -> None:
    """Follow each curve, print its tables and keep the figures."""
    parser = arguments(__doc__, "scaling", rounds=3)
    names = sorted({curve.along for curve in CURVES})
    parser.add_argument("--curves", nargs="+", choices=names, default=names, help="what grows along them")
    parser.add_argument("--longest", type=int, default=None, help="points of each curve at most")
    given = parser.parse_args()
    before, curves = machine(), []
    for curve in (curve for curve in CURVES if curve.along in given.curves):
        shortened = replace(curve, values=curve.values[: given.longest])
        curves.append({"along": curve.along, "points": list(follow(shortened, given.rounds))})
    keep(given.out, before, {"curves": curves})


if __name__ == "__main__":
    main()
