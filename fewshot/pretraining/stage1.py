"""A backbone from the supervised stage in a file that says which classes it has seen, and who may take it."""

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from fewshot.data.storage import load_tensors, save_tensors
from fewshot.evaluation.description import compare_settings
from fewshot.model.backbone import Backbone, load_backbone_weights
from fewshot.pretraining.supervision import Supervision

FORMAT = 1
_NOTES = "stage1"


class LeakageError(ValueError):
    """A backbone was trained for another fold or on other data than it is to be used with."""


def mean_iou(iou: Sequence[float | None]) -> float | None:
    """Give the mean over the classes that are there; None where none is."""
    there = [value for value in iou if value is not None]
    return sum(there) / len(there) if there else None


def save_stage1(
    path: Path, backbone: Backbone, supervision: Supervision, *, recipe: str, iou: Sequence[float | None]
) -> None:
    """Write a backbone to a safetensors file, with what it was trained on in the header.

    Args:
        path: Where to write; missing folders are made.
        backbone: What was trained.
        supervision: What on.
        recipe: How, as `describe_stage` says it.
        iou: Of background and each held-in class at the end, in per cent; None for classes that were not there.
    """
    notes = {
        "format": FORMAT,
        "supervision": supervision.describe(),
        "recipe": json.loads(recipe),
        "miou": mean_iou(iou),
        "iou": dict(zip(["background", *supervision.describe()["held_in"]], iou, strict=False)),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    weights = {name: value.detach().cpu().contiguous() for name, value in backbone.state_dict().items()}
    save_tensors(path, weights, notes={_NOTES: json.dumps(notes)})


def read_notes(path: Path) -> dict[str, Any]:
    """Read what a file of `save_stage1` says of its backbone.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no backbone of the supervised stage, or one of another version.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"A backbone of the supervised stage must be a file that is there. Found nothing at {path}. Train one by "
            f"`fewshot pretrain`."
        )
    try:
        with safe_open(path, framework="pt") as file:
            notes = json.loads((file.metadata() or {}).get(_NOTES, "{}"))
    except SafetensorError:
        notes = {}
    if notes.get("format") != FORMAT:
        raise ValueError(
            f"A backbone of the supervised stage must be a file of format {FORMAT}. Found format {notes.get('format')} "
            f"in {path}. Train one by `fewshot pretrain`; give other weights as `weights`."
        )
    return notes


def load_stage1(path: Path, backbone: Backbone, supervision: Supervision) -> dict[str, Any]:
    """Fill a backbone with one of the supervised stage, if that may have seen nothing that is to be tested.

    Args:
        path: What `pretrain` left.
        backbone: What to fill.
        supervision: What the run itself would train a backbone on.

    Returns:
        What the file says of its backbone, to be noted with results.

    Raises:
        LeakageError: Data set, lists, fold, classes or convention differ.
        FileNotFoundError: There is no such file.
        DamagedFileError: It is cut short or altered.
        ValueError: It is no backbone of the supervised stage, or one of another kind.
    """
    notes = read_notes(path)
    load_tensors(path)
    expected, found = supervision.describe(), notes["supervision"]
    differing = list(compare_settings(expected, found))
    if differing:
        name = differing[0]
        raise LeakageError(
            f"A backbone of the supervised stage must be of the run's data set, lists, fold and convention, or it may "
            f"have seen what is tested. Found `{name} = {found.get(name)}` in {path} where the run has "
            f"{expected.get(name)}. Train a backbone for this run by `fewshot pretrain`, or name the file of one."
        )
    load_backbone_weights(backbone, path)
    return notes
