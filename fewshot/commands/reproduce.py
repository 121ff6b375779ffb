"""`fewshot reproduce`: a table of the paper, ours beside what it prints."""

import json
import shlex
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser, Namespace

from fewshot.commands.options import build_run_parser, dump_run, parse_run, read_run
from fewshot.data.storage import write_whole
from fewshot.evaluation.results import Result
from fewshot.paper import TableRow, find_table, load_tables
from fewshot.presets import CONFIG_OPTION, locate_preset
from fewshot.records import CONFIGURATION, keep_configuration, record_run, record_score
from fewshot.reporting.report import write_report
from fewshot.reproduce import Grid, format_table, report_table, reproduce_table, run_folder, summarise_table
from fewshot.run_config import RunConfig


def build_reproduce_parser() -> ArgumentParser:
    """Make the parser of `fewshot reproduce`: that of `fewshot train`, and which table."""
    parser = build_run_parser("Make a table of the paper: every row on every fold with every seed.")
    parser.add_argument("--table", type=Literal[tuple(load_tables())], required=True, help="which table")  # pyright: ignore[reportInvalidTypeForm]
    parser.add_argument("--folds", type=list[int] | None, default=None, help="folds to average over; default: all")
    seeds_help = "seeds to train each row with on each fold; default: the one of `--seed`"
    parser.add_argument("--seeds", type=list[int] | None, default=None, help=seeds_help)
    return parser


def run_reproduce(options: Namespace, command: str) -> str:
    """Make a table and say what came out; runs that are finished are not made again.

    Args:
        options: As `build_reproduce_parser` parses them, not instantiated.
        command: What was typed, for the reports.

    Raises:
        ValueError: Folds or seeds are none or repeated, or a run is refused.
    """
    table, output = find_table(options.table), Path(options.output)
    grid = _lay_out(options)
    keep_configuration(output, dump_run(options))

    def make(row: TableRow, fold: int, seed: int) -> Result:
        trained = configure_run(output, row.trained or row.preset, fold, seed)
        again = shlex.join(["fewshot", "train", CONFIG_OPTION, str(trained.output / CONFIGURATION)])
        result = record_run(trained, name=row.name, commands=[command, again])
        if row.trained is None:
            return result
        return record_score(configure_run(output, row.preset, fold, seed), trained, name=row.name, commands=[command])

    results = reproduce_table(table, grid, make)
    name = f"table-{table.number}"
    summary = json.dumps(summarise_table(table, results, grid), indent=1)
    write_whole(output / f"{name}.json", f"{summary}\n".encode())
    write_report(report_table(table, results, grid, commands=[command]), output / f"{name}.html")
    return f"{format_table(table, results, grid)}\nReport: {output / name}.html"


def configure_run(output: Path, preset: str, fold: int, seed: int) -> RunConfig:
    """Put a row's preset on top of the configuration of its table, and keep the result in the folder of the run."""
    folder = run_folder(output, preset, fold, seed)
    words = [CONFIG_OPTION, str(output / CONFIGURATION), CONFIG_OPTION, str(locate_preset(preset))]
    options = parse_run([*words, f"--fold={fold}", f"--seed={seed}", f"--output={folder}"])
    keep_configuration(folder, dump_run(options))
    return read_run(options)


def _lay_out(options: Namespace) -> Grid:
    """Say which runs each row has."""
    if options.fold != 0:
        raise ValueError(
            f"The folds of a table must be given by `--folds`. Found `--fold = {options.fold}`, which is one run's. "
            f"Leave it out; `--folds=[{options.fold}]` makes that one alone."
        )
    if options.stage1 is not None:
        raise ValueError(
            f"The supervised stage of a table must be trained or taken from `--cache`, fold by fold. Found `--stage1 = "
            f"{options.stage1}`, which is one fold's. Leave it out."
        )
    count = read_run(options).data.fold_count
    folds = range(count) if options.folds is None else options.folds
    seeds = [options.seed] if options.seeds is None else options.seeds
    return Grid(tuple(folds), tuple(seeds), Path(options.output), whole=len(folds) == count)
