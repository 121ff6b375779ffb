"""What several commands ask for, and how they ask for it."""

from collections.abc import Mapping, Sequence
from functools import cache

from jsonargparse import ArgumentParser, Namespace

from fewshot.data.kinds import DATA_SETS
from fewshot.evaluation.results import Result, ScoreName
from fewshot.presets import CONFIG_OPTION, list_presets
from fewshot.reporting.summaries import SCORE_NAMES
from fewshot.run_config import RunConfig

_PRINTED: tuple[ScoreName, ...] = ("miou", "fb_iou")
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
