"""The command line: options are the fields of configurations, and unknown ones are errors.

Each command is imported when it is named: PyTorch and Lightning take seconds, and a list of the commands needs neither.
"""

import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jsonargparse import ArgumentParser, Namespace

from fewshot.commands.bases import add_base_preset
from fewshot.presets import expand_presets


class Work(NamedTuple):
    """What a command does.

    Attributes:
        build: Makes its parser.
        run: Does it, given the options as they were parsed and what was typed, and says what to print.
    """

    build: Callable[[], ArgumentParser]
    run: Callable[[Namespace, str], str]


@dataclass(frozen=True)
class Command:
    """A command of `fewshot`.

    Attributes:
        help: One line.
        load: Imports what it does.
    """

    help: str
    load: Callable[[], Work]


def _demo() -> Work:
    from fewshot.commands.demo import build_demo_parser, run_demo_command

    return Work(build_demo_parser, run_demo_command)


def _index() -> Work:
    from fewshot.commands.index import build_index_parser, index_data

    return Work(build_index_parser, index_data)


def _pretrain() -> Work:
    from fewshot.commands.pretrain import build_pretrain_parser, run_pretrain

    return Work(build_pretrain_parser, run_pretrain)


def _train() -> Work:
    from fewshot.commands.train import build_train_parser, run_train

    return Work(build_train_parser, run_train)


def _evaluate() -> Work:
    from fewshot.commands.evaluate import build_evaluate_parser, run_evaluate

    return Work(build_evaluate_parser, run_evaluate)


def _reproduce() -> Work:
    from fewshot.commands.reproduce import build_reproduce_parser, run_reproduce

    return Work(build_reproduce_parser, run_reproduce)


def _predict() -> Work:
    from fewshot.commands.predict import build_predict_parser, predict_files

    return Work(build_predict_parser, predict_files)


def _serve() -> Work:
    from fewshot.commands.serve import build_serve_parser, serve_network

    return Work(build_serve_parser, serve_network)


COMMANDS = {
    "demo": Command("train, evaluate and report on synthetic data, in minutes", _demo),
    "index": Command("make or verify the index of a data set, and count", _index),
    "pretrain": Command("train a backbone in the supervised stage", _pretrain),
    "train": Command("train a network on a fold and score it", _train),
    "evaluate": Command("score a trained network", _evaluate),
    "reproduce": Command("make a table of the paper", _reproduce),
    "predict": Command("segment your own images, given labelled examples", _predict),
    "serve": Command("a page in the browser to try a network on", _serve),
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
        options = parse(words)
        say(COMMANDS[options.command].load().run(options[options.command], typed))
    except (OSError, ValueError, ArithmeticError) as error:
        sys.exit(f"fewshot {words[0] if words else ''}: {error}")


def parse(words: Sequence[str]) -> Namespace:
    """Parse the arguments: `command` names the command, and the field of that name has its options.

    Raises:
        ValueError: A configuration is neither a file nor a preset.
        SystemExit: An argument is unknown or its value not allowed, which is said, or help was asked for.
    """
    named = words[0] if words else None
    # An abbreviation would be accepted in silence, and another option may come to share it.
    description = "Few-shot segmentation by partial optimal transport."
    parser = ArgumentParser(prog="fewshot", description=description, allow_abbrev=False)
    commands = parser.add_subcommands(dest="command")
    for name, command in COMMANDS.items():
        # Of the others, the list of commands shows name and help alone.
        own = command.load().build() if name == named else ArgumentParser()
        commands.add_subcommand(name, own, help=command.help)
    return parser.parse_args(expand_presets(add_base_preset(words)))


def say(text: str) -> None:
    """Print in the first of several processes only."""
    from fewshot.processes import is_first_process

    if is_first_process():
        print(text)
