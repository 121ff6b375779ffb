"""Measure on a CUDA device: its ceilings, every row of the table of targets beside its floor, and the peers at hand.

All in one process, in under ten minutes. Floors follow from the ceilings that were measured in the same run, and from
nothing else. Peers solve the same problem to the same violation, measured here on what they return; one that gives no
answer has a fault and no time. Rows come in the order of their value: what no time was left for is listed, and so is
what was not installed. Figures are kept after each row.

    make bench-gpu                                             # installs the peers first
    python benchmarks/bench_gpu.py                             # with whoever is installed
    python benchmarks/bench_gpu.py --rows images clouds-far --out /tmp/gpu.json
    python benchmarks/bench_gpu.py --rehearse                  # all of it in miniature on the CPU, no figures kept
"""

import argparse
import os
import warnings
from collections.abc import Callable
from typing import Any

from record import arguments, write

Record = dict[str, Any]


def asked() -> argparse.Namespace:
    """Read the command line."""
    parser = arguments(__doc__, "gpu", rounds=15)
    parser.add_argument("--rows", nargs="+", help="which to measure; default: all")
    parser.add_argument("--seconds", type=float, default=540.0, help="that all of it may take")
    parser.add_argument("--rehearse", action="store_true", help="run all in miniature on the CPU, and keep nothing")
    given = parser.parse_args()
    from gpu.rows import ROWS

    names = [row.name for row in ROWS]
    unknown = [name for name in given.rows or [] if name not in names]
    if unknown:
        parser.error(f"`--rows` must name rows. Found {', '.join(unknown)}. Choose from: {', '.join(names)}.")
    given.rows = given.rows or names
    return given


def run(given: argparse.Namespace, kept: Callable[[Record], object]) -> Record:
    """Measure the ceilings, then row after row.

    Args:
        given: What was asked for on the command line.
        kept: What is done with the record after each row.
    """
    from gpu import ceilings, rows
    from gpu.bench import FULL, MINIATURE, Bench
    from gpu.card import find
    from gpu.deadline import Deadline

    deadline = Deadline(given.seconds)
    device = find(rehearse=given.rehearse)
    small = given.rehearse
    found = ceilings.measure(device, ceilings.MINIATURE if small else ceilings.FULL, given.rounds)
    bench = Bench(device, MINIATURE if small else FULL, found, given.rounds, deadline)
    record: Record = {"ceilings": found.found, "rows": [], "not_measured": {}}
    for row in rows.ROWS:
        if row.name not in given.rows:
            continue
        refusal = deadline.refuses(0.0 if small else row.seconds)
        if refusal is None:
            record["rows"].append(rows.measure(row, bench))
        else:
            record["not_measured"][row.name] = refusal
        record["seconds"] = deadline.used
        kept(record)
    return record


def tell(record: Record) -> None:
    """Print what was measured, and loudly what was not."""
    for name, one in record["ceilings"].items():
        print(f"  {name:30}", one.get("error") or f"{one['ceiling']:.3g} {one['unit']}")
    for row in record["rows"]:
        print(f"row {row['number']} ({row['row']}), {row['path']}, {row['seconds']:.0f} s")
        for part in row["parts"]:
            _tell_part(part)
        if row["error"]:
            print(f"  FAILED: {row['error']}")
    for name, refusal in record["not_measured"].items():
        print(f"NOT MEASURED: {name}: {refusal}")


def _tell_part(part: Record) -> None:
    if "results" in part:
        print(f"  {part['what']}")
        for name, row in part["results"].items():
            time = f"{row['median_ms']:12.4g} ms" if row.get("fault") is None else f"no answer: {row['fault']}"
            print(f"    {name:46} {time}")
    elif "value" in part:
        print(f"  {part['what']}: {part['value']:.4g}" + (f" (target {part['target']:g})" if part["target"] else ""))
    else:
        reached = part["fraction_of_floor"]
        bound = "" if reached is None else f", {100 * reached:.0f} % of the floor of {part['floor_ms']:.4g} ms"
        target = "" if part["target_ms"] is None else f" (target on an H200: {part['target_ms']:g} ms)"
        print(f"  {part['what']}: {part['median_ms']:.4g} ms{bound}{target}")


def main() -> None:
    """Measure, print, keep."""
    # JAX would take most of the card's memory for itself, and Triton interprets where it is told before its import.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    given = asked()
    if given.rehearse:
        os.environ["TRITON_INTERPRET"] = "1"
        given.rounds = 2
    from gpu.card import find, machine_with_card

    before = machine_with_card(find(rehearse=given.rehearse))
    # POT and PyTorch warn of what is found in the answers.
    warnings.simplefilter("ignore")
    tell(run(given, (lambda record: None) if given.rehearse else lambda record: write(given.out, before, record)))
    if before["not installed"]:
        print(f"NOT INSTALLED, so not compared: {before['not installed']}. `make bench-gpu` installs what it can.")
    if given.rehearse:
        print("A rehearsal: nothing was kept, and no time above means anything.")


if __name__ == "__main__":
    main()
