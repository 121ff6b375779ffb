"""The command line: options are the fields of configurations, and unknown ones are errors."""

import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jsonargparse import ArgumentParser, Namespace
from lightning.pytorch.utilities import rank_zero_only

from fewshot.commands.demo import build_demo_parser, run_demo_command
from fewshot.commands.evaluate import build_evaluate_parser, run_evaluate
from fewshot.commands.index import build_index_parser, index_data
from fewshot.commands.options import add_base_preset
from fewshot.commands.predict import build_predict_parser, predict_files
from fewshot.commands.pretrain import build_pretrain_parser, run_pretrain
from fewshot.commands.reproduce import build_reproduce_parser, run_reproduce
from fewshot.commands.serve import build_serve_parser, serve_network
from fewshot.commands.train import build_train_parser, run_train
from fewshot.presets import expand_presets


@dataclass(frozen=True)
class Command:
    """A command of `fewshot`.

    Attributes:
        help: One line.
        build: Makes its parser.
        run: Does it, given the options as they were parsed and what was typed, and says what to print.
    """

    help: str
    build: Callable[[], ArgumentParser]
    run: Callable[[Namespace, str], str]


COMMANDS = {
    "demo": Command("train, evaluate and report on synthetic data, in minutes", build_demo_parser, run_demo_command),
    "index": Command("make or verify the index of a data set, and count", build_index_parser, index_data),
    "pretrain": Command("train a backbone in the supervised stage", build_pretrain_parser, run_pretrain),
    "train": Command("train a network on a fold and score it", build_train_parser, run_train),
    "evaluate": Command("score a trained network", build_evaluate_parser, run_evaluate),
    "reproduce": Command("make a table of the paper", build_reproduce_parser, run_reproduce),
    "predict": Command("segment your own images, given labelled examples", build_predict_parser, predict_files),
    "serve": Command("a page in the browser to try a network on", build_serve_parser, serve_network),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name.

    Args:
        arguments: In place of those of the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    typed = shlex.join(["fewshot", *words])
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        options = build_parser().parse_args(expand_presets(add_base_preset(words)))
        say(COMMANDS[options.command].run(options[options.command], typed))
    except (OSError, ValueError, ArithmeticError) as error:
        sys.exit(f"fewshot {words[0] if words else ''}: {error}")


@rank_zero_only
def say(text: str) -> None:
    """Print in the first of several processes only."""
    print(text)


def build_parser() -> ArgumentParser:
    """Make the parser out of those of the commands."""
    # An abbreviation would be accepted in silence, and another option may come to share it.
    description = "Few-shot segmentation by partial optimal transport."
    parser = ArgumentParser(prog="fewshot", description=description, allow_abbrev=False)
    commands = parser.add_subcommands(dest="command")
    for name, command in COMMANDS.items():
        commands.add_subcommand(name, command.build(), help=command.help)
    return parser
