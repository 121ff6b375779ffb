"""`fewshot train`, `evaluate` and `reproduce`: from options to runs, and to what is printed of them."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser, Namespace

from fewshot.checkpoint import load_checkpoint
from fewshot.data.dataset import DataSet
from fewshot.data.kinds import DATA_SETS
from fewshot.data.storage import write_whole
from fewshot.demo import PAGE, run_demo
from fewshot.evaluation import evaluate_fold
from fewshot.paper import TableRow, find_table, load_tables
from fewshot.presets import CONFIG_OPTION, list_presets, locate_preset
from fewshot.protocol import EvaluationConfig, open_pool
from fewshot.records import CONFIGURATION, REPORT, RESULT, keep_configuration, record_run
from fewshot.report import Report, write_report
from fewshot.reproduce import Grid, format_table, report_table, reproduce_table, summarise_table
from fewshot.results import Origin, Result, write_result
from fewshot.runs import RunConfig
from fewshot.segmenter import choose_device
from fewshot.summaries import SCORE_NAMES, result_sections

DEMO_PRESET = "synthetic"
_DATA_HELP = f"one of {', '.join(kind.__name__ for kind in DATA_SETS)}"


def build_train_parser() -> ArgumentParser:
    """Make the parser of `fewshot train`."""
    parser = ArgumentParser(description="Train a network on the held-in classes of a fold, score it on the others.")
    _add_config(parser)
    parser.add_class_arguments(RunConfig)
    return parser


def run_train(options: Namespace, command: str) -> str:
    """Train and score, or resume, or find finished, and say what came out.

    Args:
        options: As `build_train_parser` parses them, not instantiated.
        command: What was typed, for the report.
    """
    config = read_run_config(options)
    keep_configuration(config.output, dump_run(options))
    result = record_run(config, name="CMNet", commands=[command])
    return f"{format_scores({'CMNet': result})}\nReport: {config.output / REPORT}"


def read_run_config(options: Namespace) -> RunConfig:
    """Turn parsed options into the configuration that they are the fields of."""
    values = build_train_parser().instantiate(options)
    return RunConfig(**{name: values[name] for name in RunConfig.__dataclass_fields__})


def dump_run(options: Namespace) -> str:
    """Write parsed options as YAML that `--config` takes."""
    return build_train_parser().dump(options)


def build_demo_parser() -> ArgumentParser:
    """Make the parser of `fewshot demo`: that of `fewshot train`."""
    parser = ArgumentParser(description="Train two small networks on synthetic episodes, score them on unseen classes.")
    _add_config(parser)
    parser.add_class_arguments(RunConfig)
    return parser


def run_demo_command(options: Namespace, command: str) -> str:
    """Make the demonstration, or resume it, and say what came out.

    Args:
        options: As `build_demo_parser` parses them, not instantiated.
        command: What was typed, for the reports.
    """
    config = read_run_config(options)
    keep_configuration(config.output, dump_run(options))
    return f"{format_scores(run_demo(config, commands=[command]))}\nReport: {config.output / PAGE}"


def build_evaluate_parser() -> ArgumentParser:
    """Make the parser of `fewshot evaluate`."""
    parser = ArgumentParser(description="Score a trained network on a fold of any data set.")
    _add_config(parser)
    parser.add_argument("--checkpoint", type=Path, required=True, help="weights that `fewshot train` left")
    parser.add_argument("--data", type=DataSet, required=True, help=_DATA_HELP)
    parser.add_argument("--fold", type=int, default=0, help="which classes are held out")
    parser.add_argument("--output", type=Path, required=True, help="folder for the result and the report")
    parser.add_argument(
        "--seen",
        type=Literal["refuse", "exclude", "keep"],
        default="refuse",
        help="what becomes of classes that the network was trained on, by their names",
    )
    parser.add_argument(
        "--fit", type=Literal["trained", "asked"], default="trained", help="size of images: as trained, or as asked for"
    )
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_class_arguments(EvaluationConfig, "evaluation")
    return parser


def run_evaluate(options: Namespace, command: str) -> str:
    """Score a checkpoint and say what came out.

    Args:
        options: As `build_evaluate_parser` parses them, not instantiated.
        command: What was typed, for the report.

    Raises:
        ValueError: The network was trained on classes that it is to be tested on.
    """
    values = build_evaluate_parser().instantiate(options)
    dataset: DataSet = values.data
    checkpoint = load_checkpoint(values.checkpoint)
    config: EvaluationConfig = values.evaluation
    if values.fit == "trained":
        config = replace(config, fit=checkpoint.fit)
    if values.seen == "exclude":
        config = replace(config, exclude=tuple(dict.fromkeys((*config.exclude, *checkpoint.trained_on))))
    if values.seen == "refuse":
        _refuse_seen(checkpoint.trained_on, dataset, values.fold, config)
    network = checkpoint.model.to(choose_device(values.device))
    origin = Origin(f"file {values.checkpoint.name}", checkpoint.settings.get("convention"), checkpoint.settings)
    result = evaluate_fold(network, dataset, values.fold, config, origin=origin)
    write_result(values.output / RESULT, result)
    sections = result_sections({"CMNet": [result]}, commands=[command])
    summary = f"Scores of {values.checkpoint.name} on fold {values.fold} of {type(dataset).__name__}."
    write_report(Report("Evaluation", summary, sections), values.output / REPORT)
    return f"{format_scores({'CMNet': result})}\nReport: {values.output / REPORT}"


def _refuse_seen(trained_on: Sequence[str], dataset: DataSet, fold: int, config: EvaluationConfig) -> None:
    index = dataset.load_index(fold)
    tested = {index.classes[class_id - 1] for class_id in open_pool(dataset, index, fold, config).images_of}
    seen = sorted(tested & set(trained_on))
    if seen:
        raise ValueError(
            f"A network must be tested on classes that it was not trained on. Found {', '.join(seen)} among those of "
            f"its training. Evaluate on the fold that it was trained for, leave them out by `--seen exclude`, or keep "
            f"them by `--seen keep`, knowing that the score then says nothing about new classes."
        )


def build_reproduce_parser() -> ArgumentParser:
    """Make the parser of `fewshot reproduce`: that of `fewshot train`, and which table."""
    parser = ArgumentParser(description="Make a table of the paper: every row on every fold with every seed.")
    parser.add_argument("--table", type=Literal[tuple(load_tables())], required=True, help="which table")  # pyright: ignore[reportInvalidTypeForm]
    parser.add_argument("--folds", type=list[int] | None, default=None, help="folds to average over; default: all")
    parser.add_argument("--seeds", type=list[int], default=[321], help="seeds to train each row with on each fold")
    _add_config(parser)
    parser.add_class_arguments(RunConfig)
    return parser


def add_base_preset(words: Sequence[str]) -> list[str]:
    """Give `fewshot demo` its preset, and `fewshot reproduce` its table's, where the arguments name no configuration.

    Args:
        words: The arguments, the command first.
    """
    command, options = words[0] if words else "", list(words[1:])
    if any(word == CONFIG_OPTION or word.startswith(f"{CONFIG_OPTION}=") for word in options):
        return list(words)
    if command == "demo":
        return [command, CONFIG_OPTION, DEMO_PRESET, *options]
    tables = [word.partition("=")[2] for word in options if word.startswith("--table=")]
    tables += [word for before, word in pairwise(options) if before == "--table"]
    if command == "reproduce" and tables and tables[-1] in load_tables():
        return [command, CONFIG_OPTION, find_table(tables[-1]).base, *options]
    return list(words)


def run_reproduce(options: Namespace, command: str) -> str:
    """Make a table and say what came out; runs that are finished are not made again.

    Args:
        options: As `build_reproduce_parser` parses them, not instantiated.
        command: What was typed, for the reports.
    """
    table, output = find_table(options.table), Path(options.output)
    shared = Namespace(**{name: options[name] for name in RunConfig.__dataclass_fields__})
    keep_configuration(output, dump_run(shared))
    folds = options.folds or list(range(read_run_config(shared).data.fold_count))
    grid = Grid(tuple(folds), tuple(options.seeds), output)

    def make(row: TableRow, fold: int, seed: int, folder: Path) -> Result:
        words = [CONFIG_OPTION, str(output / CONFIGURATION), CONFIG_OPTION, str(locate_preset(row.preset))]
        words += [f"--fold={fold}", f"--seed={seed}", f"--output={folder}"]
        run_options = build_train_parser().parse_args(words)
        keep_configuration(folder, dump_run(run_options))
        again = shlex.join(["fewshot", "train", CONFIG_OPTION, str(folder / CONFIGURATION)])
        return record_run(read_run_config(run_options), name=row.name, commands=[command, again])

    results = reproduce_table(table, grid, make)
    name = f"table-{table.number}"
    summary = json.dumps(summarise_table(table, results, grid), indent=1)
    write_whole(output / f"{name}.json", f"{summary}\n".encode())
    write_report(report_table(table, results, grid, commands=[command]), output / f"{name}.html")
    return f"{format_table(table, results, grid)}\nReport: {output / name}.html"


def format_scores(results: Mapping[str, Result]) -> str:
    """Lay out scores for the terminal: mean and standard deviation over the lists of episodes."""
    names = {name: SCORE_NAMES[name] for name in ("miou", "fb_iou")}
    shots = next(iter(results.values())).shots
    width = max(len(row) for row in results)
    columns = [f"{label}, {shot}-shot" for shot in shots for label in names.values()]
    lines = ["  ".join([" " * width, *(f"{column:>14}" for column in columns)])]
    for row, result in results.items():
        spreads = [result.summarise(shot, score) for shot in shots for score in names]
        cells = [f"{one.mean:.1f}" + ("" if one.std is None else f" ± {one.std:.1f}") for one in spreads]
        lines.append("  ".join([row.ljust(width), *(f"{cell:>14}" for cell in cells)]))
    return "\n".join(lines)


def _add_config(parser: ArgumentParser) -> None:
    presets = ", ".join(list_presets())
    parser.add_argument(
        CONFIG_OPTION, action="config", help=f"YAML file or preset, later ones override; presets: {presets}"
    )
