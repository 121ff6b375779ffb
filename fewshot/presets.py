"""The configurations that come with the package: one YAML file each, addressed by name on the command line."""

from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

CONFIG_OPTION = "--config"
_FOLDER = "configs"
TABLES = "tables"
"""The file in the same folder that is no preset: the paper's tables."""


def list_presets() -> tuple[str, ...]:
    """Name every preset, those of rows of tables as `rows/name`."""
    return tuple(sorted(name for name in _walk(files("fewshot") / _FOLDER, "") if name != TABLES))


def is_base(config: str) -> bool:
    """Say whether a configuration is a preset that makes a whole run by itself, and not what goes on top of one."""
    return config in list_presets() and "/" not in config


def locate_preset(name: str) -> Path:
    """Find the file of a preset.

    Raises:
        ValueError: There is no such preset.
    """
    if name not in list_presets():
        raise ValueError(
            f"A configuration must be a file that is there or the name of a preset. Found {name!r}. Correct the path, "
            f"or name one of: {', '.join(list_presets())}."
        )
    return Path(str(files("fewshot") / _FOLDER / f"{name}.yaml"))


def expand_presets(arguments: Sequence[str]) -> list[str]:
    """Put paths in place of presets' names after `--config` in arguments of the command line.

    Raises:
        ValueError: A configuration is neither a file nor a preset.
    """
    expanded: list[str] = []
    for position, word in enumerate(arguments):
        if word.startswith(f"{CONFIG_OPTION}="):
            expanded.append(f"{CONFIG_OPTION}={_locate(word.partition('=')[2])}")
        elif position and arguments[position - 1] == CONFIG_OPTION:
            expanded.append(str(_locate(word)))
        else:
            expanded.append(word)
    return expanded


def _locate(config: str) -> Path:
    return Path(config) if Path(config).is_file() else locate_preset(config)


def _walk(folder: Traversable, prefix: str) -> list[str]:
    names: list[str] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            names += _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            names.append(prefix + entry.name.removesuffix(".yaml"))
    return names
