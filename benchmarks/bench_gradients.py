"""Time forward and backward of a function of the plan on the CPU: partialot and its peers, in one process, in turns.

The function is ⟨W, plan⟩ with a random W. What is unrolled runs the fewest iterations whose plan reaches the violation;
the others stop by themselves at it. A derivative that is wrong by more than a hundredth is not timed. The truth is
partialot's implicit derivative in float64 at 1e-12, which the tests check against central differences.

    python benchmarks/bench_gradients.py
"""

import statistics
import warnings
from dataclasses import asdict

import torch
from comparison import finite, show, title
from peers import own
from peers.derivatives import ITERATIONS, Derivative, derivatives
from record import arguments, keep
from torch import Tensor
from tqdm import tqdm
from workload import Workload, machine

WRONG = 1e-2
"""Relative error, in the Frobenius norm, from which on a derivative is called wrong."""


def compare(workload: Workload, rounds: int) -> dict[str, dict[str, float | str | None]]:
    """Medians and quartiles in milliseconds, and the error of the derivative."""
    cost = workload.cost()
    upstream = torch.randn(cost.shape, generator=torch.Generator().manual_seed(1))
    exact = true_derivative(cost, upstream, workload)
    runs = {name: prepare(cost, upstream, workload) for name, prepare in derivatives(workload)}
    # The first run compiles, and warms caches and pages.
    verdicts = {name: judge(run, exact) for name, run in runs.items()}
    right = {name: run for name, run in runs.items() if verdicts[name][1] is None}
    times = take_turns(right, rounds, title(workload))
    return {name: {"error": error, "fault": fault, **times.get(name, {})} for name, (error, fault) in verdicts.items()}


def judge(run: Derivative, exact: Tensor) -> tuple[float | None, str | None]:
    """Give the error of the derivative and what is to be said against it."""
    try:
        found = run()[0]
    except Exception as error:
        return None, f"raised {type(error).__name__}"
    error = ((found.double() - exact).norm() / exact.norm()).item()
    return finite(error), None if error <= WRONG else f"derivative wrong by {error:.2g} of its norm"


def true_derivative(cost: Tensor, upstream: Tensor, workload: Workload) -> Tensor:
    """By implicit differentiation in float64."""
    leaf = cost.double().requires_grad_()
    plan = own.solve(leaf, workload, tol=1e-12)(ITERATIONS)
    return torch.autograd.grad(plan, leaf, upstream.double())[0]


def take_turns(runs: dict[str, Derivative], rounds: int, heading: str) -> dict[str, dict[str, float]]:
    """Time both passes of each, interleaved."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in tqdm(range(rounds), desc=heading):
        for name, run in runs.items():
            _, forward, backward = run()
            taken[name].append((1e3 * forward, 1e3 * backward))
    return {name: summarise(times) for name, times in taken.items()}


def summarise(times: list[tuple[float, float]]) -> dict[str, float]:
    """Median of each pass, median and quartiles of both together."""
    forward, backward = (statistics.median(one) for one in zip(*times, strict=True))
    low, _, high = statistics.quantiles([sum(both) for both in times], n=4, method="inclusive")
    return {"forward_ms": forward, "backward_ms": backward, "low_ms": low, "high_ms": high}


def main() -> None:
    """Compare, print tables and keep the figures."""
    parser = arguments(__doc__, "gradients", rounds=5)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--nodes", type=int, default=900)
    given = parser.parse_args()
    before, results = machine(), []
    # POT and PyTorch warn of what is found in the derivative.
    warnings.simplefilter("ignore")
    for mass in (0.3, None):
        workload = Workload(given.batch, given.nodes, mass, 0.05, 1e-5)
        rows = compare(workload, given.rounds)
        results.append({"workload": asdict(workload), "results": rows})
        show(title(workload), rows)
    keep(given.out, before, {"gradients": results})


if __name__ == "__main__":
    main()
