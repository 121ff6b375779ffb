"""What several commands ask for, and how they ask for it."""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from fewshot.data.kinds import DATA_SETS
from fewshot.evaluation.results import Result, ScoreName
from fewshot.paper import find_table, load_tables
from fewshot.presets import CONFIG_OPTION, is_base, list_presets
from fewshot.reporting.summaries import SCORE_NAMES
from fewshot.run_config import RunConfig

WITHOUT_PRESETS = ("index", "pretrain", "evaluate")
"""Commands whose options are not those of a run, which presets are made of."""

_PRINTED: tuple[ScoreName, ...] = ("miou", "fb_iou")
DEMO_PRESET = "synthetic"
DATA_HELP = f"one of {', '.join(kind.__name__ for kind in DATA_SETS)}"


def build_run_parser(description: str) -> ArgumentParser:
    """Make a parser whose options are the fields of a run's configuration."""
    parser = ArgumentParser(description=description, allow_abbrev=False)
    add_config(parser)
    parser.add_class_arguments(RunConfig)
    return parser


def parse_run(words: Sequence[str]) -> Namespace:
    """Parse the options of a run, with paths in place of presets' names."""
    return _run_parser().parse_args(list(words))


def read_run(options: Namespace) -> RunConfig:
    """Turn parsed options into the configuration that they are the fields of."""
    values = _run_parser().instantiate(_select(options))
    return RunConfig(**{name: values[name] for name in RunConfig.__dataclass_fields__})


def dump_run(options: Namespace) -> str:
    """Write parsed options as YAML that `--config` takes; those of a command beside the run's are left out.

    What is None is written too, so that it stays None on top of a preset that has something there.
    """
    return _run_parser().dump(_select(options), skip_unset=False)


@cache
def _run_parser() -> ArgumentParser:
    """Make the parser once: there are hundreds of options, and a table asks for it with each of its runs."""
    return build_run_parser("")


def _select(options: Namespace) -> Namespace:
    return Namespace(**{name: options[name] for name in RunConfig.__dataclass_fields__})


def add_config(parser: ArgumentParser, *, presets: bool = True) -> None:
    """Let a parser take YAML files, and unless told otherwise presets: `expand_presets` puts paths for their names."""
    kinds = f"YAML file or preset, later ones override; presets: {', '.join(list_presets())}"
    own = "YAML file of these options, later ones override"
    parser.add_argument(CONFIG_OPTION, action="config", help=kinds if presets else own)


def add_base_preset(words: Sequence[str]) -> list[str]:
    """Start `fewshot demo` from its preset, and `fewshot reproduce` from its table's, unless another base is named.

    What the arguments name goes on top: a file of one's own data, say, or `on_top/low_memory`.

    Args:
        words: The arguments, the command first.

    Raises:
        ValueError: A preset is named to a command that is no run.
    """
    command, options = words[0] if words else "", list(words[1:])
    named = [word.partition("=")[2] for word in options if word.startswith(f"{CONFIG_OPTION}=")]
    named += [word for before, word in pairwise(options) if before == CONFIG_OPTION]
    presets = [config for config in named if config in list_presets() and not Path(config).is_file()]
    if command in WITHOUT_PRESETS and presets:
        raise ValueError(
            f"`--config` of `fewshot {command}` must be a file of its own options. Found the preset {presets[0]!r}, "
            f"which says what a whole run is. Put those of its options that `fewshot {command} --help` lists into a "
            f"file, or give them one by one."
        )
    if any(is_base(config) for config in named):
        return list(words)
    if command == "demo":
        return [command, CONFIG_OPTION, DEMO_PRESET, *options]
    tables = [word.partition("=")[2] for word in options if word.startswith("--table=")]
    tables += [word for before, word in pairwise(options) if before == "--table"]
    if command == "reproduce" and tables and tables[-1] in load_tables():
        return [command, CONFIG_OPTION, find_table(tables[-1]).base, *options]
    return list(words)


def format_scores(results: Mapping[str, Result]) -> str:
    """Lay out scores for the terminal: mean and standard deviation over the lists of episodes."""
    names: dict[ScoreName, str] = {name: SCORE_NAMES[name] for name in _PRINTED}
    shots = next(iter(results.values())).shots
    width = max(len(row) for row in results)
    columns = [f"{label}, {shot}-shot" for shot in shots for label in names.values()]
    lines = ["  ".join([" " * width, *(f"{column:>14}" for column in columns)])]
    for row, result in results.items():
        spreads = [result.summarise(shot, score) for shot in shots for score in names]
        cells = [f"{one.mean:.1f}" + ("" if one.std is None else f" ± {one.std:.1f}") for one in spreads]
        lines.append("  ".join([row.ljust(width), *(f"{cell:>14}" for cell in cells)]))
    return "\n".join(lines)
