"""Tensors in files that are either complete and unaltered, or known not to be."""

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

DIGEST = "sha256"

logger = logging.getLogger(__name__)


class DamagedFileError(ValueError):
    """A file's content is not what was written to it."""


def save_tensors(path: Path, tensors: dict[str, Tensor], *, notes: dict[str, str] | None = None) -> None:
    """Write tensors to a safetensors file, with their hash in its header.

    The file appears under its name only when it is complete, so that an interruption leaves what was there before.

    Args:
        path: Where to write; missing folders are made.
        tensors: What to write.
        notes: Further entries of the header.
    """
    write_whole(path, save(tensors, metadata={**(notes or {}), DIGEST: hash_tensors(tensors)}))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears under its name only when it is complete; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read what `save_tensors` wrote.

    Raises:
        DamagedFileError: The file is cut short, altered, or was not written by `save_tensors`.
    """
    try:
        with safe_open(path, framework="pt") as file:
            expected = (file.metadata() or {}).get(DIGEST)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping, only keys()
    except SafetensorError as error:
        expected, tensors, reason = None, {}, f"an unreadable file ({error})"
    else:
        reason = "other content" if expected else "no hash"
    if expected is None or hash_tensors(tensors) != expected:
        raise DamagedFileError(
            f"A file of tensors must hold what its hash says. Found {reason} in {path}. Delete the file and let it be "
            f"made again, or fetch it anew."
        )
    return tensors


def load_cached(path: Path) -> dict[str, Tensor] | None:
    """Read what `save_tensors` wrote, if it is there; None, with a warning in the log, where it is damaged."""
    if not path.exists():
        return None
    try:
        return load_tensors(path)
    except DamagedFileError as error:
        logger.warning("%s Making it again.", error)
        return None


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Name tensors by names, types, shapes and content: equal hashes, equal tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def name_tensors(value: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """List the tensors inside a batch of dataclasses and tuples, by the names of fields and places."""
    if isinstance(value, Tensor):
        yield name, value.detach().cpu().contiguous()
    elif is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            yield from name_tensors(getattr(value, one.name), f"{name}.{one.name}".lstrip("."))
    elif isinstance(value, tuple):
        for place, part in enumerate(value):
            yield from name_tensors(part, f"{name}.{place}".lstrip("."))
