"""How small `reg` may be in float32 and float64: sweeps, and the violation that the returned plan really has.

The violation is measured on the plan in float64: rows above their weight, columns above theirs, and the mass, the
largest of the three over the mass. The default tolerance is asked for (1e-5 in float32, 1e-9 in float64).

    python benchmarks/bench_accuracy.py
"""

import warnings

import torch
from bench_iterations import families
from record import arguments, keep
from torch import Tensor
from tqdm import tqdm
from workload import machine

import partialot

RATIOS = (2**4, 2**6, 2**8, 2**10, 2**12, 2**14)
"""Range of the cost over `reg`."""


def reached(plan: Tensor, mass: float) -> float:
    """Violation of a plan with uniform weights, relative to the mass."""
    plan = plan.double()
    sides = [(plan.sum(dim) - 1 / plan.shape[1 - dim]).clamp(min=0).sum() for dim in (1, 0)]
    return max(*(side.item() for side in sides), abs(plan.sum().item() - mass)) / mass


def main() -> None:
    """Measure, print a table and keep it."""
    given = arguments(__doc__, "accuracy").parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", partialot.ConvergenceWarning)
    before, rows = machine(), []
    cases = [(name, cost, mass) for name, cost in families().items() for mass in (None, 0.7)]
    for name, cost, mass in tqdm(cases):
        for dtype in (torch.float32, torch.float64):
            for ratio in RATIOS:
                given_cost = cost.to(dtype)
                reg = float(given_cost.max() - given_cost.min()) / ratio
                solver = partialot.Sinkhorn(max_iter=4000)
                solution = partialot.solve(given_cost, mass=mass, reg=reg, solver=solver)
                rows.append(
                    {
                        "family": name,
                        "mass": mass,
                        "dtype": str(dtype).removeprefix("torch."),
                        "ratio": ratio,
                        "sweeps": int(solution.n_iter),
                        "converged": bool(solution.converged),
                        "violation": reached(solution.plan, 1.0 if mass is None else mass),
                    }
                )
                row = rows[-1]
                tqdm.write(
                    f"{name:16} {mass or 'balanced'!s:9} {row['dtype']} {ratio:6} {row['sweeps']:5} "
                    f"{'' if row['converged'] else 'stopped'} {row['violation']:.1e}"
                )
    keep(given.out, before, {"rows": rows})


if __name__ == "__main__":
    main()
