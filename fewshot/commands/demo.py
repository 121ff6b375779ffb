"""`fewshot demo`: two small networks on synthetic images, in minutes."""

from jsonargparse import ArgumentParser, Namespace

from fewshot.commands.options import build_run_parser, dump_run, format_scores, read_run
from fewshot.demo import PAGE, run_demo
from fewshot.records import keep_configuration


def build_demo_parser() -> ArgumentParser:
    """Make the parser of `fewshot demo`: that of `fewshot train`."""
    return build_run_parser("Train two small networks on synthetic episodes, score them on unseen classes.")


def run_demo_command(options: Namespace, command: str) -> str:
    """Make the demonstration, or resume it, and say what came out.

    Args:
        options: As `build_demo_parser` parses them, not instantiated.
        command: What was typed, for the reports.
    """
    config = read_run(options)
    keep_configuration(config.output, dump_run(options))
    return f"{format_scores(run_demo(config, commands=[command]))}\nReport: {config.output / PAGE}"
