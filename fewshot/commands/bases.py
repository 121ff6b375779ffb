"""Which preset a command starts from."""

from collections.abc import Sequence
from itertools import pairwise

from fewshot.paper import find_table, load_tables
from fewshot.presets import CONFIG_OPTION, is_base

DEMO_PRESET = "synthetic"


def add_base_preset(words: Sequence[str]) -> list[str]:
    """Start `fewshot demo` from its preset, and `fewshot reproduce` from its table's, unless another base is named.

    What the arguments name goes on top: a file of one's own data, say, or `on_top/low_memory`.

    Args:
        words: The arguments, the command first.
    """
    command, options = words[0] if words else "", list(words[1:])
    named = [word.partition("=")[2] for word in options if word.startswith(f"{CONFIG_OPTION}=")]
    named += [word for before, word in pairwise(options) if before == CONFIG_OPTION]
    if any(is_base(config) for config in named):
        return list(words)
    if command == "demo":
        return [command, CONFIG_OPTION, DEMO_PRESET, *options]
    tables = [word.partition("=")[2] for word in options if word.startswith("--table=")]
    tables += [word for before, word in pairwise(options) if before == "--table"]
    if command == "reproduce" and tables and tables[-1] in load_tables():
        return [command, CONFIG_OPTION, find_table(tables[-1]).base, *options]
    return list(words)
