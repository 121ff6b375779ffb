"""What a result depends on, as JSON can hold it: data, network, versions, machine and the state of the source."""

import json
import os
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from fewshot.data.dataset import DataSet
from fewshot.data.index import Index
from fewshot.data.pools import EpisodePool
from fewshot.data.storage import hash_tensors
from fewshot.model.cmnet import CMNet

_PACKAGES = ("partialot", "torch", "lightning", "numpy", "scipy", "kornia", "pillow", "safetensors")
"""Those whose release may move a score."""

_SOURCES = Path(__file__).parents[1]
"""The whole of `fewshot`, not this part of it: a change anywhere in it may move a score."""


def describe_data(dataset: DataSet, index: Index, pool: EpisodePool) -> dict[str, Any]:
    """Say which images and classes a pool of a data set holds.

    Raises:
        TypeError: The data set is no dataclass, so that nobody can tell its fields.
    """
    if not is_dataclass(dataset):
        raise TypeError(
            f"A data set must be a dataclass, whose fields a result can name. Found {type(dataset).__name__}. Put "
            f"`@dataclass(frozen=True)` above it."
        )
    fold, names = pool.fold, index.classes
    return to_plain(
        {
            "type": type(dataset).__name__,
            "fields": asdict(dataset),
            "lists": {
                part: {"files": split.lists, "sha256": split.digest, "images": len(split.entries)}
                for part, split in (("train", index.train), ("val", index.val))
            },
            "fold": fold.number,
            "held_in": {class_id: names[class_id - 1] for class_id in fold.held_in},
            "held_out": {class_id: names[class_id - 1] for class_id in fold.held_out},
            "images_of": {class_id: len(numbers) for class_id, numbers in pool.images_of.items()},
            "rule": asdict(pool.rule),
        }
    )


def describe_network(network: CMNet) -> dict[str, Any]:
    """Say what a network is and which weights it has."""
    return to_plain(
        {
            "config": asdict(network.config),
            "weights_sha256": hash_tensors(network.state_dict()),
            "backbone_sha256": hash_tensors(network.backbone.state_dict()),
            "parameters": sum(one.numel() for one in network.parameters()),
            "trainable": sum(one.numel() for one in network.parameters() if one.requires_grad),
        }
    )


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Say what a computation on `device` runs with, as JSON can hold it."""
    return {
        "versions": {"python": platform.python_version(), **{name: _find_version(name) for name in _PACKAGES}},
        "commit": find_commit(_SOURCES),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }


def find_commit(folder: Path) -> str | None:
    """Name the commit of the sources in a folder, followed by `+changes` where they differ from it.

    None where the folder is in no repository or not part of the one that it lies in, as installed packages are, and
    where there is no git.
    """
    tracked = _ask_git(folder, "ls-files", "--", ".")
    commit = _ask_git(folder, "rev-parse", "HEAD")
    if not tracked or not commit:
        return None
    return f"{commit}+changes" if _ask_git(folder, "status", "--porcelain", "--", ".") else commit


def compare_settings(expected: object, found: object, name: str = "") -> Iterator[str]:
    """List the settings in which two nested dictionaries differ, such as `recipe.training.shot`."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted({*expected, *found}):
            yield from compare_settings(expected.get(key), found.get(key), f"{name}.{key}".lstrip("."))
    elif expected != found:
        yield name


def to_plain(value: object) -> Any:
    """Turn configurations, taken apart by `asdict`, into what JSON gives back: lists, texts and numbers."""
    return json.loads(json.dumps(value, default=str, allow_nan=False))


def _ask_git(folder: Path, *words: str) -> str | None:
    """Give what git says, None where it fails."""
    try:
        said = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.stdout.strip()


def _find_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
