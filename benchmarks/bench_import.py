"""Time what is waited for before anything is computed: imports and the help of the command line.

Each is a fresh interpreter, in turns with the others. Its processor time counts, user's and system's, which other work
on the machine disturbs least; bytecode was written before, as `pip install` does. Python's garbage collector may happen
to look through the objects of PyTorch while something else is imported: that counts there, as its user waits for it.

    python benchmarks/bench_import.py --rounds 5
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from statistics import median, quantiles

from record import arguments, keep
from workload import machine

TORCH = "import torch"
PROGRAMS = {
    "python": "pass",
    TORCH: TORCH,
    "import partialot": "import partialot",
    # What is left out of the import is paid for here.
    "import partialot, one exact solve": "import torch, partialot; partialot.solve(torch.eye(3))",
    "import ot (POT)": "import ot",
    "import fewshot": "import fewshot",
    "fewshot --help": "from fewshot.cli import main; main(['--help'])",
    "fewshot predict --help": "from fewshot.cli import main; main(['predict', '--help'])",
    "fewshot train --help": "from fewshot.cli import main; main(['train', '--help'])",
}


def processor_ms(program: str, environment: Mapping[str, str]) -> float:
    """What a fresh interpreter takes to run a program, user's and system's time."""
    child = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"A program must run to its end. Found exit status {child.returncode}. Run it: {program}")
    return 1e3 * (used.ru_utime + used.ru_stime)


def summarise(times: list[float], beside: list[float]) -> dict[str, float]:
    """Median, quartiles, and the median of what was taken beyond PyTorch in the same turn."""
    low, _, high = quantiles(times, n=4)
    beyond = median(one - other for one, other in zip(times, beside, strict=True))
    return {"median_ms": median(times), "low_ms": low, "high_ms": high, "beyond_torch_ms": beyond}


def main() -> None:
    """Take turns, print the figures and keep them."""
    given = arguments(__doc__, "import", rounds=5).parse_args()
    before = machine()
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as bytecode:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
        for program in PROGRAMS.values():
            processor_ms(program, environment)
        for _ in range(given.rounds):
            for name, program in PROGRAMS.items():
                times[name].append(processor_ms(program, environment))
    results = {name: summarise(taken, times[TORCH]) for name, taken in times.items()}
    for name, row in results.items():
        print(f"{name:36}", *(f"{key} {value:8.1f}" for key, value in row.items()))
    keep(given.out, before, {"results": results})


if __name__ == "__main__":
    main()
