"""How every benchmark is asked for its figures, and how they are kept."""

import argparse
import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def arguments(description: str | None, name: str, *, rounds: int | None = None) -> argparse.ArgumentParser:
    """The command line that benchmarks share.

    Args:
        description: Of the script, whose first line is shown.
        name: Of the file in `results` that the figures are kept in.
        rounds: How many turns are taken unless told otherwise; None where nothing is timed in turns.
    """
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds, help="turns that each takes; medians are kept")
    parser.add_argument("--out", type=Path, default=RESULTS / f"{name}.json", help="where the figures are kept")
    return parser


def keep(out: Path, machine: Mapping[str, object], figures: Mapping[str, object]) -> None:
    """Write figures down, with the command that they came of and the machine as it was before."""
    if machine["not installed"]:
        print(f"Not installed, so not compared: {machine['not installed']}. `make bench` installs all peers.")
    write(out, machine, figures)


def write(out: Path, machine: Mapping[str, object], figures: Mapping[str, object]) -> None:
    """The same without a word of who was not installed."""
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"command": command, "machine": machine, **figures}, indent=2) + "\n")
