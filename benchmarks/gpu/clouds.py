"""Rows over clouds whose prices are not stored: one full iteration, and whole solves, beside the peers."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from comparison import LIMIT, in_turns, raised, search
from judging import Verdict
from peers import flash, geomloss, ott
from timing import gather
from torch import Tensor

import partialot
from gpu.bench import REG, Bench, Shape
from gpu.floors import lazy_iteration
from gpu.outcome import Comparison, Figure, Outcome
from gpu.sweeps import between, sweep

ERROR = 1e-3
"""Violation that whole solves go to."""

_AT_ONCE = 1 << 26
"""Pairs that are judged at a time."""

_SOLVED = 20_000
"""Points up to which whole solves are compared; beyond, an iteration tells all."""

_SECONDS = 15.0

Potentials = tuple[Tensor, Tensor]
Run = Callable[[int], Potentials]


@dataclass(frozen=True)
class Pair:
    """Two uniform clouds of as many points each, uniform weights, squared distances with a mean of 1/2.

    Attributes:
        x: (points, dimension).
        y: Likewise.
        reg: Entropic regularisation.
    """

    x: Tensor
    y: Tensor
    reg: float

    @classmethod
    def of(cls, dimension: int, points: int, device: torch.device) -> "Pair":
        """The same points every time."""
        generator = torch.Generator().manual_seed(0)
        # The mean squared distance within a unit cube is a sixth of its dimension.
        x, y = (torch.rand(points, dimension, generator=generator) * (3 / dimension) ** 0.5 for _ in range(2))
        return cls(x.to(device), y.to(device), REG)

    def violation(self, potentials: Potentials) -> float:
        """The larger of what rows and columns are wrong by, summed, in float64 from the points as they are."""
        (f, g), n, m = (one.double() for one in potentials), len(self.x), len(self.y)
        y, columns, wrong = self.y.double(), torch.zeros(m, dtype=torch.float64, device=self.y.device), 0.0
        for rows in torch.arange(n, device=self.x.device).split(max(1, _AT_ONCE // m)):
            price = torch.cdist(self.x[rows].double(), y, compute_mode="donot_use_mm_for_euclid_dist").square()
            plan = ((f[rows, None] + g - price) / self.reg).exp() / (n * m)
            wrong += float((plan.sum(1) - 1 / n).abs().sum())
            columns += plan.sum(0)
        return max(wrong, float((columns - 1 / m).abs().sum()))

    def judge(self, potentials: Potentials) -> Verdict:
        """Whether the plan of these potentials is an answer: one of their form with such marginals is the optimum."""
        found = self.violation(potentials)
        return Verdict(found, float("nan"), None if found <= ERROR else f"violation {found:.2g}")


def iterations(bench: Bench, shape: Shape, target: float) -> Iterator[Outcome]:
    """One full iteration, and where the clouds are not large, whole solves.

    Args:
        bench: Where it is measured.
        shape: Dimension and points.
        target: Milliseconds of an iteration.
    """
    dimension, points = shape
    pair = Pair.of(dimension, points, bench.device)
    cloud = partialot.PointCloud(pair.x, pair.y, storage="blocks")
    # An iteration over many pairs is long enough to be told from two.
    counts = bench.sizes.sweeps if points <= _SOLVED else (1, 3)
    measures = {"partialot": between(partial(sweep, cloud, None, pair.reg), counts, bench.wall)}
    faults: dict[str, dict[str, str]] = {}
    sweep(cloud, None, pair.reg, counts[0])
    for name, prepare in _peers(pair, bench.device).items():
        try:
            run = prepare()
            for count in counts:
                # The first run of a count compiles, and chooses between kernels.
                run(count)
            measures[name] = between(run, counts, bench.wall)
        except Exception as error:
            faults[name] = {"fault": raised(error)}
    times = gather(measures, bench.rounds, f"d = {dimension}, {points:,} points", _SECONDS)
    floor = lazy_iteration(bench.ceilings, points**2, dimension)
    made_of = "every inner product and every exponential, for rows and for columns"
    what = f"d = {dimension}, {points:,} points, squared distances, balanced"
    yield Figure(f"{what}, a sweep within `solve`", times["partialot"], floor, made_of, target)
    yield Comparison(
        f"{what}, one full iteration", {name: {"fault": None, **one} for name, one in times.items()} | faults
    )
    if points <= _SOLVED:
        yield _solves(bench, pair, what)


def _solves(bench: Bench, pair: Pair, what: str) -> Comparison:
    cloud = partialot.PointCloud(pair.x, pair.y, storage="blocks")

    def own() -> Run:
        def run(limit: int) -> Potentials:
            solver = partialot.Sinkhorn(max_iter=limit, tol=ERROR)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", partialot.ConvergenceWarning)
                return partialot.solve(cloud, reg=pair.reg, solver=solver).potentials

        return run

    def reaches(potentials: Potentials) -> bool:
        return pair.violation(potentials) <= ERROR

    entries = {"partialot": search(own, reaches, pair.judge, LIMIT, 12, bench.wall)}
    for name, prepare in _peers(pair, bench.device).items():
        entries[name] = search(prepare, reaches, pair.judge, None, 12, bench.wall)
    return Comparison(f"{what}, to {ERROR:g}", in_turns(entries, {"partialot"}, bench.rounds, what, bench.place))


def _peers(pair: Pair, device: torch.device) -> dict[str, Callable[[], Run]]:
    found: dict[str, Callable[[], Run]] = {}
    if flash.serves(device):
        for name, tf32 in (("TF32", True), ("float32", False)):
            found[f"FlashSinkhorn, alternating, {name}"] = partial(
                flash.alternating, pair.x, pair.y, pair.reg, tf32=tf32
            )
    if geomloss.INSTALLED and len(pair.x) <= _SOLVED:
        found["GeomLoss SamplesLoss"] = partial(geomloss.samples, pair.x, pair.y, pair.reg)
    if ott.serves(device):
        found["OTT PointCloud, momentum 1.5"] = partial(ott.clouds, pair.x, pair.y, pair.reg)
    return found
