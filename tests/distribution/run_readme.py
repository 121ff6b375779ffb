"""Run the Python programs of the README in the order and from the place of this process: `make release-check`.

The README is that of the installed package, and so is everything that its programs import.
"""

import re
import sys
from importlib.metadata import metadata
from pathlib import Path

import partialot


def main() -> None:
    """Run each program by itself; an error ends the process with its traceback."""
    if not Path(partialot.__file__).is_relative_to(sys.prefix):
        sys.exit(
            f"`partialot` must be the one that is installed in {sys.prefix}. Found {partialot.__file__}. Start from a "
            f"folder that is not the source tree, without PYTHONPATH."
        )
    readme = str(metadata("partialot").json["description"])
    programs = re.findall(r"^```python\n(.*?)^```", readme, flags=re.DOTALL | re.MULTILINE)
    for program in programs:
        exec(program, {})
    sys.stdout.write(f"{len(programs)} programs of the README ran with partialot {partialot.__version__}\n")


if __name__ == "__main__":
    main()
