"""What the README says of speed: one table of ratios between two marks."""

import re
from typing import Any

from pages.markdown import measured_on, moved, number, table, wrap

BLOCK = re.compile(r"(<!-- written by make bench -->\n).*?(<!-- to here -->)", flags=re.DOTALL)

LIBRARIES = {
    "POT": ("POT",),
    "OTT-JAX": ("OTT",),
    "GeomLoss": ("GeomLoss",),
    "PyTorch by hand": ("eager", "row-vector"),
}
"""How the names of a library's solvers begin."""


def fill(page: str, solves: dict[str, Any], *, picture: bool) -> str:
    """Put the table of a page anew.

    Args:
        page: That holds the two marks.
        solves: The record of whole solves.
        picture: Whether the curves were measured and drawn.
    """
    image = "![Time of a solve by the number of nodes](docs/images/solve_time.svg)\n\n" if picture else ""
    text = (
        f"{image}Milliseconds of whole solves to the same error of the marginals, in brackets the time over ours. Of "
        f"each library its fastest solver that gave an answer is taken, told beforehand how many iterations it needs. "
        f"`{solves['command']}`, {measured_on(solves['machine'])}\n{ratios(solves)}\n"
        "Below 1 the other is faster. Solvers one by one, gradients, memory, accuracy: "
        "[docs/benchmarks.md](docs/benchmarks.md).\n"
    )
    return BLOCK.sub(lambda match: f"{match[1]}{wrap(text)}{match[2]}", page)


def ratios(solves: dict[str, Any]) -> str:
    """A row a workload, a column a library."""
    rows = []
    for one in solves["solves"]:
        work, results = one["workload"], one["results"]
        own = results["partialot"]["median_ms"]
        cells = [_cell(results, starts, own) for starts in LIBRARIES.values()]
        rows.append([f"{work['batch']} × {work['nodes']}², {moved(work['mass'])}", number(own), *cells])
    return table(["problems", "partialot", *LIBRARIES], rows)


def _cell(results: dict[str, Any], starts: tuple[str, ...], own: float) -> str:
    """The fastest of a library; capped plans and linear programmes are other problems."""
    rows = [row for name, row in results.items() if name.startswith(starts) and not _is_another_problem(name)]
    if not rows:
        return "not offered"
    times = [row["median_ms"] for row in rows if row.get("fault") is None]
    return f"{number(min(times))} ({min(times) / own:.2g})" if times else "no answer"


def _is_another_problem(name: str) -> bool:
    return "capped" in name or "exact" in name
