"""How many sweeps partialot's algorithms take, plain and accelerated, over families of problems.

200 sources, 260 targets, uniform weights, float64; violations of 1e-3 and 1e-6 of the mass. Sweeps do not depend on the
machine.

    python benchmarks/bench_iterations.py
"""

import warnings

import torch
from record import arguments, keep
from torch import Tensor
from tqdm import tqdm
from workload import machine

import partialot

SETTINGS = {
    "plain": {"over_relaxation": False, "annealing": False, "newton": False},
    "over-relaxed": {"annealing": False, "newton": False},
    "and annealed": {"newton": False},
    "default (and Newton steps)": {},
}
TOLERANCES = (1e-3, 1e-6)
LIMIT = 6000


def families() -> dict[str, Tensor]:
    """Costs in [0, 2]: cosines between clusters, squared distances in the unit square, and uniform noise."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(8, 32, generator=generator, dtype=torch.float64)
    sides = []
    for count in (200, 260):
        noise = 0.3 * torch.randn(count, 32, generator=generator, dtype=torch.float64)
        features = centres[torch.randint(8, (count,), generator=generator)] + noise
        sides.append(torch.nn.functional.normalize(features, dim=-1))
    x, y = (torch.rand(count, 2, generator=generator, dtype=torch.float64) for count in (200, 260))
    return {
        "cosine clusters": 1 - sides[0] @ sides[1].mT,
        "planar, squared": torch.cdist(x, y).square(),
        "uniform noise": 2 * torch.rand(200, 260, generator=generator, dtype=torch.float64),
    }


def count(cost: Tensor, mass: float | None, reg: float, tol: float, options: dict[str, bool]) -> int | None:
    """Sweeps until the violation is at most `tol`; None if that takes more than the limit."""
    solver = partialot.Sinkhorn(max_iter=LIMIT, tol=tol, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", partialot.ConvergenceWarning)
        solution = partialot.solve(cost, mass=mass, reg=reg, solver=solver)
    return int(solution.n_iter) if bool(solution.converged) else None


def main() -> None:
    """Count, print a table and keep it."""
    given = arguments(__doc__, "iterations").parse_args()
    torch.set_num_threads(1)
    cases = [
        (name, cost, mass, reg)
        for name, cost in families().items()
        for mass in (None, 0.95, 0.7)
        for reg in (0.05, 0.01, 0.002)
    ]
    before, rows = machine(), []
    print(f"{'sweeps to 1e-3 / 1e-6':32}", *(f"{name:>26}" for name in SETTINGS))
    for name, cost, mass, reg in tqdm(cases):
        counts = {
            setting: [count(cost, mass, reg, tol, options) for tol in TOLERANCES]
            for setting, options in SETTINGS.items()
        }
        rows.append({"family": name, "mass": mass, "reg": reg, "sweeps": counts})
        shown = ("/".join(f"{n}" if n is not None else f">{LIMIT}" for n in pair) for pair in counts.values())
        tqdm.write(f"{name:16} {mass or 'balanced'!s:9} {reg:<6}" + " ".join(f"{text:>26}" for text in shown))
    keep(given.out, before, {"tolerances": TOLERANCES, "rows": rows})


if __name__ == "__main__":
    main()
