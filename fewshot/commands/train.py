"""`fewshot train`: a network on the held-in classes of a fold, scored on the others."""

from jsonargparse import ArgumentParser, Namespace

from fewshot.commands.options import build_run_parser, dump_run, format_scores, read_run
from fewshot.records import REPORT, keep_configuration, record_run


def build_train_parser() -> ArgumentParser:
    """Make the parser of `fewshot train`."""
    return build_run_parser("Train a network on the held-in classes of a fold, score it on the others.")


def run_train(options: Namespace, command: str) -> str:
    """Train and score, or resume, or find finished, and say what came out.

    Args:
        options: As `build_train_parser` parses them, not instantiated.
        command: What was typed, for the report.
    """
    config = read_run(options)
    keep_configuration(config.output, dump_run(options))
    result = record_run(config, name="CMNet", commands=[command])
    return f"{format_scores({'CMNet': result})}\nReport: {config.output / REPORT}"
