"""Which preset a command starts from."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from fewshot.paper import find_table, load_tables
from fewshot.presets import CONFIG_OPTION, is_base, list_presets

DEMO_PRESET = "synthetic"
WITHOUT_PRESETS = ("index", "pretrain", "evaluate")
"""Commands whose options are not those of a run, which presets are made of."""


def add_base_preset(words: Sequence[str]) -> list[str]:
    """Start `fewshot demo` from its preset, and `fewshot reproduce` from its table's, unless another base is named.

    What the arguments name goes on top: a file of one's own data, say, or `on_top/low_memory`.

    Args:
        words: The arguments, the command first.

    Raises:
        ValueError: A preset is named to a command that is no run.
    """
    command, options = words[0] if words else "", list(words[1:])
    named = _list_values(options, CONFIG_OPTION)
    if command in WITHOUT_PRESETS:
        _refuse_presets(command, named)
    if any(is_base(config) for config in named):
        return list(words)
    if command == "demo":
        return [command, CONFIG_OPTION, DEMO_PRESET, *options]
    tables = _list_values(options, "--table")
    if command == "reproduce" and tables and tables[-1] in load_tables():
        return [command, CONFIG_OPTION, find_table(tables[-1]).base, *options]
    return list(words)


def _list_values(options: Sequence[str], name: str) -> list[str]:
    """List what an option is given, as `--name value` or `--name=value`."""
    joined = [word.partition("=")[2] for word in options if word.startswith(f"{name}=")]
    return joined + [word for before, word in pairwise(options) if before == name]


def _refuse_presets(command: str, named: Sequence[str]) -> None:
    presets = [config for config in named if config in list_presets() and not Path(config).is_file()]
    if presets:
        raise ValueError(
            f"`--config` of `fewshot {command}` must be a file of its own options. Found the preset {presets[0]!r}, "
            f"which says what a whole run is. Put those of its options that `fewshot {command} --help` lists into a "
            f"file, or give them one by one."
        )
