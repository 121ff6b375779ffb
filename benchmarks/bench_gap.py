"""Time to a certified relative gap on the CPU: annealing, the exact solver of partialot, and POT's network simplex.

The exact solvers know no gap: their one time stands beside all of them. Annealing is timed by sweeps alone, as far as
`--sweeps` of them go, and as it is by default, finished by the simplex. Every gap is checked against the optimum. Times
of partialot are those of `solve`, POT's those of `ot.emd` alone on a matrix that is bordered beforehand.

    OMP_NUM_THREADS=1 python benchmarks/bench_gap.py
"""

import math
import time
import warnings

import numpy as np
import ot
import torch
from bench_exact import draw
from record import arguments, keep
from torch import Tensor
from tqdm import tqdm
from workload import machine

import partialot
from partialot.solvers import AnnealedLP

GAPS = (1e-2, 1e-3, 1e-4)
FAMILIES = ("points", "features")
MASS = 0.7
Figures = dict[str, float | int | bool]


def timed(cost: Tensor, weights: Tensor, mass: float | None, solver: partialot.ExactLP | AnnealedLP) -> Figures:
    """Solve once; give seconds, sweeps, value and whether the solver reached what it was to reach."""
    begin = time.perf_counter()
    with warnings.catch_warnings():
        # Sweeps may run out; that is a figure, too.
        warnings.simplefilter("ignore", partialot.ConvergenceWarning)
        solution = partialot.solve(cost, weights, weights, mass=mass, solver=solver)
    seconds = time.perf_counter() - begin
    return {
        "seconds": seconds,
        "sweeps": int(solution.n_iter),
        "value": solution.value.item(),
        "reached": bool(solution.converged),
    }


def by_pot(cost: Tensor, weights: Tensor, mass: float | None) -> Figures:
    """POT's simplex over all pairs; partial problems with the weight of the dummies dealt out, its fastest form."""
    nodes = len(weights)
    prices, masses = cost.numpy(), weights.numpy()
    if mass is not None:
        copies = min(1 + nodes // 20, 1 + math.isqrt(3 * nodes))
        prices = np.pad(prices, ((0, copies), (0, copies)))
        # No cost is below 0, so any price keeps the dummies' pair empty.
        prices[nodes:, nodes:] = 2.0
        masses = np.append(masses, np.full(copies, (1.0 - mass) / copies))
    total = masses.sum()
    begin = time.perf_counter()
    _, log = ot.emd(masses / total, masses / total, prices, numItermax=10**8, log=True)
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "value": float(total * log["cost"]), "reached": log["warning"] is None}


def compare(family: str, nodes: int, mass: float | None, sweeps: int) -> dict[str, Figures]:
    """Time one problem by everyone."""
    cost, weights, _ = (torch.as_tensor(array) for array in draw(family, nodes))
    rows = {"POT": by_pot(cost, weights, mass), "ExactLP": timed(cost, weights, mass, partialot.ExactLP())}
    for gap in GAPS:
        rows[f"AnnealedLP, {gap:.0e}"] = timed(cost, weights, mass, AnnealedLP(tol_gap=gap))
        alone = AnnealedLP(tol_gap=gap, simplex_after=None, max_iter=sweeps)
        rows[f"sweeps alone, {gap:.0e}"] = timed(cost, weights, mass, alone)
        best = rows["ExactLP"]["value"]
        for name in (f"AnnealedLP, {gap:.0e}", f"sweeps alone, {gap:.0e}"):
            if rows[name]["reached"] and rows[name]["value"] > best * (1 + gap * (1 + gap)) + 1e-12:
                raise RuntimeError(f"Certified gaps must hold. Found {rows[name]} beside {best}. Look into it.")
    return rows


def show(title: str, rows: dict[str, Figures]) -> None:
    """Print a table."""
    print(title)
    for name, row in rows.items():
        note = "" if row["reached"] else "  gap not reached"
        sweeps = f"{row['sweeps']:>8} sweeps" if row.get("sweeps") else ""
        print(f"  {name:<22}{row['seconds']:>9.3f} s{sweeps}{note}")


def main() -> None:
    """Compare, print tables and keep the figures."""
    parser = arguments(__doc__, "gap")
    parser.add_argument("--nodes", type=int, nargs="+", default=[1000, 4000])
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--sweeps", type=int, default=500, help="most sweeps of annealing alone")
    given = parser.parse_args()
    before, results = machine(), {}
    compare("points", 200, MASS, 100)  # Compiles and imports what is compiled and imported once.
    cases = [(family, nodes, mass) for nodes in given.nodes for family in given.families for mass in (None, MASS)]
    for family, nodes, mass in tqdm(cases):
        title = f"{family}, {nodes} nodes, {'balanced' if mass is None else f'mass {mass}'}"
        results[title] = compare(family, nodes, mass, given.sweeps)
        show(title, results[title])
    keep(given.out, before, {"results": results})


if __name__ == "__main__":
    main()
