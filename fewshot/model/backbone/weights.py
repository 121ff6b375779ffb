"""Weights of a backbone from a local file, by name and with nothing executed."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fewshot.model.backbone.features import Backbone
from fewshot.model.backbone.gluon import is_gluon_mobilenet, rename_gluon_mobilenet

logger = logging.getLogger(__name__)


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """Read a state dict from a local file without running any code stored in it.

    Args:
        path: A `.safetensors` file, or whatever `torch.load(weights_only=True)` accepts.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, would run code, or holds something else than named tensors.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"`path` must name a file of weights. Found nothing at {path}. Download the weights first, or correct "
            f"the path."
        )
    try:
        weights = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"`path` must be a complete file of weights that runs no code. Found something else in {path} "
            f"({str(error).splitlines()[0] if str(error) else 'empty'}). Fetch it again, or save its tensors anew."
        ) from error
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ValueError(
            f"`path` must hold a state dict, that is tensors by name. Found {type(weights).__name__} in {path}. "
            f"Save `model.state_dict()` alone, without optimiser or configuration."
        )
    return weights


def load_backbone_weights(backbone: Backbone, path: Path) -> None:
    """Fill a backbone from a local file in torchvision's naming; the classifier is left out, nothing else.

    MobileNetV2 as Gluon names it (`fewshot.model.backbone.gluon`) is renamed first; it needs `stem="deep"`. The name
    and SHA-256 of the file go into the log of this module, level INFO, so that a run says which weights it had.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Names or shapes differ from the backbone's, or the file is none of weights alone.
    """
    weights = read_weights(path)
    if is_gluon_mobilenet(weights):
        weights = rename_gluon_mobilenet(weights)
    weights = {name: value for name, value in weights.items() if not name.startswith(backbone.classifier)}
    expected = backbone.state_dict()
    # Counters of batches matter to no frozen network, and files from other frameworks lack them.
    counters = {name: value for name, value in expected.items() if name.endswith("num_batches_tracked")}
    weights = {**counters, **weights}
    wrong = sorted(set(weights) ^ set(expected)) or [
        name for name, value in weights.items() if value.shape != expected[name].shape
    ]
    if wrong:
        raise ValueError(
            f"The weights must have the backbone's names and shapes. Found {len(wrong)} that differ in {path}, first "
            f"`{wrong[0]}`. Pass a torchvision-style state dict of the same depth and stem."
        )
    backbone.load_state_dict(weights)
    logger.info("Backbone filled from %s, SHA-256 %s.", path, _hash(path))


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
