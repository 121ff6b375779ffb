"""`fewshot evaluate`: a trained network on a fold of any data set."""

from argparse import SUPPRESS
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser, Namespace

from fewshot.checkpoint import load_checkpoint
from fewshot.commands.options import DATA_HELP, add_config, format_scores
from fewshot.data.dataset import DataSet
from fewshot.data.fitting import Fit
from fewshot.data.folds import canonical_name
from fewshot.evaluation.evaluate import evaluate_fold
from fewshot.evaluation.protocol import EvaluationConfig, open_pool
from fewshot.evaluation.results import Origin, write_result
from fewshot.processes import first_process_first, is_first_process, join_processes
from fewshot.records import CONFIGURATION, REPORT, RESULT
from fewshot.reporting.report import Report, write_report
from fewshot.reporting.summaries import result_sections
from fewshot.segmenter import choose_device


def build_evaluate_parser() -> ArgumentParser:
    """Make the parser of `fewshot evaluate`."""
    parser = ArgumentParser(description="Score a trained network on a fold of any data set.", allow_abbrev=False)
    add_config(parser, presets=False)
    parser.add_argument("--checkpoint", type=Path, required=True, help="weights that `fewshot train` left")
    parser.add_argument("--data", type=DataSet, required=True, help=DATA_HELP)
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
    cache_help = "folder of features that are computed once, as `fewshot train` keeps them; default: images are read"
    parser.add_argument("--cache", type=Path | None, default=None, help=cache_help)
    parser.add_class_arguments(EvaluationConfig, "evaluation", skip={"fit"})
    # Left out where nobody gives it, which tells that from the default values given in full.
    fit_help = "how images come to the size of the network, with `--fit asked`"
    parser.add_argument("--evaluation.fit", type=Fit | None, default=SUPPRESS, help=fit_help)
    return parser


def run_evaluate(options: Namespace, command: str) -> str:
    """Score a checkpoint and say what came out; processes that `torchrun` started share the episodes.

    Args:
        options: As `build_evaluate_parser` parses them, not instantiated.
        command: What was typed, for the report.

    Raises:
        ValueError: The network was trained on classes that it is to be tested on, `evaluation.fit` is asked for and
            not taken, or the folder is that of a run.
    """
    values = build_evaluate_parser().instantiate(options)
    dataset: DataSet = values.data
    device = join_processes(choose_device(values.device))
    with first_process_first():
        dataset.load_index(values.fold)
    checkpoint = load_checkpoint(values.checkpoint)
    asked = values.evaluation.fit if "evaluation.fit" in options else None
    config = choose_fit(values.evaluation, asked, checkpoint.fit, how=values.fit)
    _refuse_run(values.output)
    if values.seen == "exclude":
        config = replace(config, exclude=tuple(dict.fromkeys((*config.exclude, *checkpoint.trained_on))))
    if values.seen == "refuse":
        _refuse_seen(checkpoint.trained_on, dataset, values.fold, config)
    network = checkpoint.model.to(device)
    origin = Origin(f"file {values.checkpoint.name}", checkpoint.settings.get("convention"), checkpoint.settings)
    result = evaluate_fold(network, dataset, values.fold, config, origin=origin, cache=values.cache)
    if is_first_process():
        write_result(values.output / RESULT, result)
        sections = result_sections({"CMNet": [result]}, commands=[command])
        summary = f"Scores of {values.checkpoint.name} on fold {values.fold} of {type(dataset).__name__}."
        write_report(Report("Evaluation", summary, sections), values.output / REPORT)
    return f"{format_scores({'CMNet': result})}\nReport: {values.output / REPORT}"


def _refuse_run(output: Path) -> None:
    if (output / CONFIGURATION).exists():
        raise ValueError(
            f"`--output` must be a folder of its own. Found that of a run, whose result would be overwritten, in "
            f"{output}. Choose another folder, such as one inside it."
        )


def choose_fit(
    config: EvaluationConfig, asked: Fit | None, trained: Fit, *, how: Literal["trained", "asked"]
) -> EvaluationConfig:
    """Say how images come to the size of the network: as it was trained, or as asked for.

    Raises:
        ValueError: Something is asked for that would not be taken, or nothing is although it should be.
    """
    if how == "asked" and asked is None:
        raise ValueError(
            f"`--fit asked` must go with `--evaluation.fit`. Found none for a network that was trained with {trained}. "
            f"Add `--evaluation.fit.size` and `--evaluation.fit.mode`, or leave `--fit` out."
        )
    if how == "trained" and asked not in (None, trained):
        raise ValueError(
            f"`--evaluation.fit` must go with `--fit asked`. Found {asked} for a network that was trained with "
            f"{trained}. Add `--fit asked`, or leave `--evaluation.fit` out."
        )
    return replace(config, fit=trained if asked is None else asked)


def _refuse_seen(trained_on: Sequence[str], dataset: DataSet, fold: int, config: EvaluationConfig) -> None:
    index = dataset.load_index(fold)
    tested = {index.classes[class_id - 1] for class_id in open_pool(dataset, index, fold, config).images_of}
    known = {canonical_name(name) for name in trained_on}
    seen = sorted(name for name in tested if canonical_name(name) in known)
    if seen:
        raise ValueError(
            f"A network must be tested on classes that it was not trained on. Found {', '.join(seen)} among those of "
            f"its training. Evaluate on the fold that it was trained for, leave them out by `--seen exclude`, or keep "
            f"them by `--seen keep`, knowing that the score then says nothing about new classes."
        )
