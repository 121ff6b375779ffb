"""Runs whose folder says what was done: configuration, state, weights, result and a report to look at."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import torch
import yaml

from fewshot.checkpoint import load_checkpoint
from fewshot.data.collation import collate_tests
from fewshot.data.episodes import TestEpisodes
from fewshot.data.index import Index
from fewshot.data.pools import EpisodePool
from fewshot.data.sampling import EpisodeSpec
from fewshot.data.storage import write_whole
from fewshot.episode import Episode
from fewshot.evaluation.description import compare_settings
from fewshot.evaluation.evaluate import evaluate_fold
from fewshot.evaluation.protocol import list_episodes, open_pool
from fewshot.evaluation.results import Origin, Result, read_result, write_result
from fewshot.model.cmnet import CMNet
from fewshot.processes import is_first_process
from fewshot.reporting.report import Report, Section, write_report
from fewshot.reporting.sections import matching_section, pictures_section, training_section
from fewshot.reporting.summaries import result_sections
from fewshot.run_config import RunConfig
from fewshot.runs import TRAINING, Run, run, take_up
from fewshot.training.keeping import RESUME
from fewshot.visualisation import Curve, Matches, Panel, find_matches, take_panel

CONFIGURATION, RESULT, REPORT = "config.yaml", "result.json", "report.html"
"""Files in the folder of a run, beside what training keeps in its own."""
PICTURED_TASKS = 6
PICTURED_FLOWS = 2
CHOICE = "The first evaluation episode of each class, whatever came out."

WITHOUT_EFFECT = frozenset(
    {
        "output",
        "cache",
        "data.cache",
        "data.photographs",
        "data.processes",
        "data.workers",
        "evaluation.workers",
        # The arithmetic of a GPU is another, to rounding; but `auto`, the default, has never said which it was.
        "hardware.accelerator",
        "hardware.workers",
        "pretraining.checkpoint_every",
        "training.checkpoint_every",
    }
)
"""Options that say where a run is made and how fast, not what comes out: others of them do not make it another run.

Numbers of processes and precisions are none of them: dropout draws apart in each process.
"""

logger = logging.getLogger(__name__)


def keep_configuration(folder: Path, text: str) -> None:
    """Write the resolved configuration into the folder of a run, unless it is that of another run.

    What is there is replaced where options of `WITHOUT_EFFECT` differ: the run goes on with those asked for.

    Raises:
        ValueError: The folder is that of another run.
    """
    path = folder / CONFIGURATION
    if not path.exists():
        write_whole(path, text.encode())
        return
    there, asked = yaml.safe_load(path.read_text(encoding="utf-8")), yaml.safe_load(text)
    changed = list_changes(there, asked)
    if changed:
        name = changed[0]
        raise ValueError(
            f"`output` must be a new folder, or that of the very same run, which is then resumed. Found another "
            f"configuration in {path}: `{name}` is {_look_up(there, name)!r} where {_look_up(asked, name)!r} is asked "
            f"for. Choose another folder, or delete this one."
        )
    if any(compare_settings(there, asked)):
        write_whole(path, text.encode())


def list_changes(there: object, asked: object) -> list[str]:
    """Name the options, such as `training.shot`, in which two nested configurations differ and results depend on.

    What is null in one of them may be missing in the other: older versions did not write all options.
    """
    changed = compare_settings(there, asked)
    # The command line and a result call what is below `data` by different names.
    return [name for name in changed if ".".join(_remove_wrapping(name)) not in WITHOUT_EFFECT]


def _remove_wrapping(name: str) -> list[str]:
    return [part for part in name.split(".") if part not in ("init_args", "fields")]


def _look_up(settings: object, name: str) -> Any:
    return reduce(lambda part, key: part.get(key) if isinstance(part, Mapping) else None, name.split("."), settings)


def record_run(config: RunConfig, *, name: str, commands: Sequence[str] = ()) -> Result:
    """Make a run with everything in its folder; a run that is finished is read and not made again.

    A report that is missing, because a picture failed or somebody deleted it, is made of what is there.

    Args:
        config: What to run.
        name: What the network is called in the report.
        commands: What was typed, for the report.

    Raises:
        ValueError: The folder holds the result of another configuration, or as for `run`.
    """
    there = _find_result(config)
    if there is not None and not _can_report(config, config.output / TRAINING / RESUME):
        return there
    finished = run(config) if there is None else Run(*take_up(config), there)
    if is_first_process():
        if there is None:
            # The result first: a picture that fails must not cost an evaluation.
            write_result(config.output / RESULT, finished.result)
        write_report(report_run(finished, config, name=name, commands=commands), config.output / REPORT)
    return finished.result


def record_score(config: RunConfig, trained: RunConfig, *, name: str, commands: Sequence[str] = ()) -> Result:
    """Score the network of a finished run in another way, with everything in a folder of its own.

    Args:
        config: The same run but for `evaluation` and `output`.
        trained: The run that is finished.
        name: What the network is called in the report.
        commands: What was typed, for the report.

    Raises:
        ValueError: The two differ in more, or the folder holds the result of another configuration.
        FileNotFoundError: The run is not finished.
    """
    if replace(config, evaluation=trained.evaluation, output=trained.output) != trained:
        raise ValueError(
            f"A network must be scored by a configuration that differs from its training's in `evaluation` alone. "
            f"Found more differences between {config.output} and {trained.output}. Train a network for it."
        )
    there = _find_result(config)
    if there is not None and not _can_report(config, trained_weights(trained)):
        return there
    network = load_checkpoint(trained_weights(trained)).model.to(config.hardware.device)
    origin = Origin(f"those of {trained.output.name}", config.convention, config.describe())
    result = there or evaluate_fold(
        network, config.data, config.fold, config.evaluation, origin=origin, cache=config.feature_cache
    )
    if is_first_process():
        if there is None:
            write_result(config.output / RESULT, result)
        scores, *others = result_sections({name: [result]}, commands=commands)
        sections = (scores, *picture_networks({name: network}, config), *others)
        write_report(Report(f"{name}, fold {config.fold}", _summarise(result), sections), config.output / REPORT)
    return result


def _find_result(config: RunConfig) -> Result | None:
    """Read the result of a run that is finished."""
    path = config.output / RESULT
    if not path.exists():
        return None
    result = read_result(path)
    changed = list_changes(result.origin.settings, config.describe())
    if changed:
        raise ValueError(
            f"A finished run must be of the configuration that is asked for. Found the result of another one in "
            f"{path}, with another `{changed[0]}`. Choose another `output`, or delete that folder."
        )
    logger.info("Finished before: %s.", path)
    return result


def _can_report(config: RunConfig, needed: Path) -> bool:
    """Tell whether the report is missing, and there is what it is made of beside the result."""
    missing = not (config.output / REPORT).is_file()
    if missing and not needed.is_file():
        logger.warning("No report: %s is not there, which it would be made of.", needed)
    return missing and needed.is_file()


def _summarise(result: Result) -> str:
    return f"Scored on classes never trained on: {', '.join(result.data['held_out'].values())}."


def report_run(finished: Run, config: RunConfig, *, name: str, commands: Sequence[str] = ()) -> Report:
    """Make the report of a run: scores, classes, training, pictures, flows, and how it was made."""
    scores, *others = result_sections({name: [finished.result]}, commands=commands)
    losses = training_section({name: Curve.of_every_step(finished.trained.losses)})
    sections = (scores, losses, *picture_networks({name: finished.network}, config), *others)
    return Report(f"{name}, fold {config.fold}", _summarise(finished.result), sections)


def picture_networks(networks: Mapping[str, CMNet], config: RunConfig) -> tuple[Section, ...]:
    """Show what networks answer on the same tasks, and where the last of them sends the mass of the object."""
    episode, titles = gather_tasks(config)
    with torch.inference_mode():
        answers = {name: network.cpu().eval()(episode) for name, network in networks.items()}
    panels = {
        name: [take_panel(episode, prediction, task=task, title=title) for task, title in enumerate(titles)]
        for name, prediction in answers.items()
    }
    pictures = pictures_section(panels, choice=CHOICE)
    last, prediction = list(answers.items())[-1]
    if prediction.plan is None:
        return (pictures,)
    flows: list[tuple[Panel, list[Matches]]] = [
        (panel, [find_matches(episode, prediction, task=task, shot=shot) for shot in range(len(panel.support_masks))])
        for task, panel in enumerate(panels[last][:PICTURED_FLOWS])
    ]
    return pictures, matching_section(flows)


def gather_tasks(config: RunConfig) -> tuple[Episode, list[str]]:
    """Read the tasks that are pictured, as one batch, with the names of their classes."""
    index, pool, specs = choose_tasks(config)
    tests = TestEpisodes(config.data, pool, specs, config.evaluation.fit, config.evaluation.annotation)
    episode = collate_tests([tests[number] for number in range(len(specs))]).episode
    return episode, [index.classes[spec.class_id - 1] for spec in specs]


def choose_tasks(config: RunConfig) -> tuple[Index, EpisodePool, tuple[EpisodeSpec, ...]]:
    """Take the first evaluation episode of each class, up to `PICTURED_TASKS`: no choice by what looks good."""
    index = config.data.load_index(config.fold)
    pool = open_pool(config.data, index, config.fold, config.evaluation)
    first: dict[int, EpisodeSpec] = {}
    for spec in list_episodes(pool, config.evaluation)[0].specs:
        first.setdefault(spec.class_id, spec)
    return index, pool, tuple(list(first.values())[:PICTURED_TASKS])


def trained_weights(config: RunConfig) -> Path:
    """Say where the weights of a finished run are, those that were scored."""
    name = "last" if config.training.select == "last" else "best"
    return config.output / TRAINING / f"{name}.safetensors"
