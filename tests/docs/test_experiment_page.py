"""The tables of docs/experiment.md are those of the files that the experiment left."""

import importlib.util

from tests.docs.pages import ROOT

SPECIFICATION = importlib.util.spec_from_file_location("fill_experiment", ROOT / "benchmarks" / "fill_experiment.py")
assert SPECIFICATION is not None
assert SPECIFICATION.loader is not None
FILLER = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(FILLER)
PAGE = (ROOT / "docs" / "experiment.md").read_text(encoding="utf-8")


def test_tables_of_the_experiment_are_filled_from_their_files() -> None:
    assert FILLER.fill(PAGE) == PAGE


def test_every_file_of_the_experiment_is_shown() -> None:
    shown = {match["name"] for match in FILLER.BLOCK.finditer(PAGE)}
    assert shown == {path.stem for path in FILLER.RESULTS.glob("*.json")}
