"""Write the pages, the pictures and the table of the README from benchmarks/results: none of it is typed.

python benchmarks/make_page.py
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pages import gpu, headline, own, plots, programmes, solves
from pages.markdown import wrap

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parents[1]

HEAD = """# Benchmarks

Written by `python benchmarks/make_page.py` from the JSON files in `benchmarks/results`, each of which names the
machine, the versions and the load it was measured under. Ratios within a table hold; absolute times are those of that
machine. `make bench` measures the first parts anew in a quarter of an hour on two idle cores, `make bench-full` all.

FlashSinkhorn runs on GPUs only: on a CPU it is not compared. What the peers answer to hard cases stands in
[conformance.md](conformance.md).
"""

ACCURACY = """# Accuracy

Written by `python benchmarks/make_page.py`; see `benchmarks/results/accuracy.json` for machine and versions.

Potentials are float64 whatever the type of the costs, and exponents f + g − C are formed without rounding: in float32
f and g are split into a part on a grid so coarse that sums of two are exact, and the rest. Errors of marginals do not
grow with the cost over `reg` therefore; what the costs themselves were rounded to remains. Every solution tells what
it reached (`marginal_error`), and `certificate()` brackets the value of the exact linear programme at any iterate.
"""


@dataclass(frozen=True)
class Part:
    """What a page shows of one file of results.

    Attributes:
        file: Its name.
        write: Lays it out.
        command: Measures it.
        expected: Whether the page says that it is missing where it is.
    """

    file: str
    write: Callable[[dict[str, Any]], Iterator[str]]
    command: str
    expected: bool = True


PAGES = {
    "benchmarks.md": (
        HEAD,
        (
            Part("cpu", solves.solves, "python benchmarks/bench_cpu.py"),
            Part("gradients", solves.gradients, "python benchmarks/bench_gradients.py"),
            Part("memory", solves.memory, "python benchmarks/bench_memory.py"),
            Part("scaling", solves.scaling, "python benchmarks/bench_scaling.py"),
            Part("sweep", solves.sweeps, "python benchmarks/bench_sweep.py"),
            Part("iterations", own.iterations, "python benchmarks/bench_iterations.py"),
            Part("exact", programmes.programmes, "OMP_NUM_THREADS=1 python benchmarks/bench_exact.py"),
            Part("cpu_large", solves.solves, "python benchmarks/bench_cpu.py --workloads large"),
            Part(
                "exact_3000", programmes.programmes, "OMP_NUM_THREADS=1 python benchmarks/bench_exact.py --nodes 3000"
            ),
            Part("formulations", programmes.formulations, "python benchmarks/bench_formulations.py"),
            Part("lazy", own.lazy, "python benchmarks/bench_lazy.py"),
            Part("storage", own.storage, "OMP_NUM_THREADS=1 python benchmarks/bench_storage.py"),
            Part("import", own.imports, "python benchmarks/bench_import.py"),
            # Where no GPU was at hand, nothing is claimed of one.
            Part("gpu", gpu.gpu, "python benchmarks/bench_gpu.py", expected=False),
            Part("cmnet", own.network, "python benchmarks/bench_cmnet.py"),
        ),
    ),
    "accuracy.md": (
        ACCURACY,
        (
            Part("accuracy", own.accuracy, "python benchmarks/bench_accuracy.py"),
            Part("small_reg", solves.small_reg, "python benchmarks/bench_small_reg.py"),
            Part("gap", programmes.gap, "OMP_NUM_THREADS=1 python benchmarks/bench_gap.py"),
        ),
    ),
}


def write(page: str) -> str:
    """Give a page from whatever results there are, and name those that are missing."""
    head, parts = PAGES[page]
    written, missing = [head], []
    for part in parts:
        file = RESULTS / f"{part.file}.json"
        if file.exists():
            written += map(wrap, part.write(json.loads(file.read_text())))
        elif part.expected:
            missing.append(f"- `{part.command}`")
    if missing:
        written += ["## Not measured yet\n", "\n".join(missing) + "\n"]
    return "\n".join(written)


def fill_readme(readme: str) -> str:
    """Give the README with its table anew; as it is where nothing was measured."""
    file = RESULTS / "cpu.json"
    if not file.exists():
        return readme
    return headline.fill(readme, json.loads(file.read_text()), picture=(RESULTS / "scaling.json").exists())


def main() -> None:
    """Draw the pictures, write the pages, fill the README."""
    curves = RESULTS / "scaling.json"
    if curves.exists():
        plots.draw(curves, ROOT / "docs" / "images")
    for page in PAGES:
        (ROOT / "docs" / page).write_text(write(page))
    readme = ROOT / "README.md"
    readme.write_text(fill_readme(readme.read_text()))


if __name__ == "__main__":
    main()
