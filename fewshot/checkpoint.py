"""A trained network in one file: weights, configuration and what else prediction needs, with no code inside."""

import dataclasses
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints

import torch
from safetensors import safe_open

from fewshot.data.fitting import Fit
from fewshot.data.storage import load_tensors, save_tensors
from fewshot.model.cmnet import CMNet
from fewshot.model.config import CMNetConfig

FORMAT = 3

T = TypeVar("T")


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and the circumstances of its training.

    Attributes:
        model: In eval mode, on the CPU.
        fit: How images came onto the canvas that it was trained with.
        trained_on: Names of the classes that training showed it, so that a test on them does not pass for one on new
            ones; empty where nobody said.
        settings: The configuration of the run, as JSON holds it; empty where nobody said.
        versions: Of Python and PyTorch when the file was written.
    """

    model: CMNet
    fit: Fit
    trained_on: tuple[str, ...]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]


def save_checkpoint(
    model: CMNet,
    path: Path,
    *,
    fit: Fit,
    trained_on: tuple[str, ...] = (),
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Write a network to a safetensors file; its configuration goes into the header.

    An interruption leaves what was there before: the file is written beside its place and then moved there.
    A training loop calls it as `save_checkpoint(model, folder / "cmnet.safetensors", fit=Fit(473))`.

    Args:
        model: The network, backbone included.
        path: Where to write; missing folders are made.
        fit: How images come onto the canvas that it was trained with.
        trained_on: Names of the classes that training showed it.
        settings: The configuration of the run, as JSON can hold it.

    Raises:
        ValueError: Some weight is NaN or infinite.
    """
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    for name, value in weights.items():
        if not value.isfinite().all():
            raise ValueError(
                f"Weights must be finite numbers to be worth keeping. Found others in `{name}`. Go back to the last "
                f"good checkpoint and train on with a smaller step."
            )
    header = {
        "format": FORMAT,
        "config": dataclasses.asdict(model.config),
        "fit": dataclasses.asdict(fit),
        "trained_on": trained_on,
        "settings": settings or {},
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    save_tensors(path, weights, notes={"cmnet": json.dumps(header)})


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what `save_checkpoint` wrote; nothing in the file is executed.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedFileError: The file is cut short or altered.
        ValueError: It is no checkpoint of this network, or one of another version, with other fields to configure.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"`path` must name a checkpoint. Found nothing at {path}. Train one first, for instance by `make demo`."
        )
    weights = load_tensors(path)
    with safe_open(path, framework="pt") as file:
        header = json.loads((file.metadata() or {}).get("cmnet", "{}"))
    if header.get("format") != FORMAT:
        raise ValueError(
            f"`path` must be a checkpoint of format {FORMAT}. Found format {header.get('format')} in {path}. Use a "
            f"file that `save_checkpoint` of this version wrote."
        )
    model = CMNet(_rebuild(CMNetConfig, header["config"], path))
    model.load_state_dict(weights)
    return Checkpoint(
        model.eval(), Fit(**header["fit"]), tuple(header["trained_on"]), header["settings"], header["versions"]
    )


def _rebuild(kind: type[T], values: Mapping[str, Any], path: Path) -> T:
    """Make a dataclass of what JSON kept of it, which knows neither tuples nor dataclasses."""
    hints = get_type_hints(kind)
    unknown, missing = sorted(values.keys() - hints), sorted(hints.keys() - values)
    if unknown or missing:
        raise ValueError(
            f"The configuration in a checkpoint must have every field of {kind.__name__} and no other. Found unknown "
            f"{unknown} and missing {missing} in {path}. Use a file that `save_checkpoint` of this version wrote."
        )
    rebuilt = dict(values)
    for name, hint in hints.items():
        if dataclasses.is_dataclass(hint):
            rebuilt[name] = _rebuild(cast(type, hint), values[name], path)
        elif isinstance(values[name], list):
            rebuilt[name] = tuple(values[name])
    return kind(**rebuilt)
