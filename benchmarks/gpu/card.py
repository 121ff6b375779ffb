"""The card: which there is, what is said of it beside the figures, and how much of its memory was held."""

import importlib.util
import resource
import subprocess
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import torch
from peers import ott
from workload import machine

_PEERS = ("flash-sinkhorn", "pykeops")
"""Peers that only a GPU has a use for."""


def find(*, rehearse: bool) -> torch.device:
    """Give the device to measure; the CPU for a rehearsal.

    Raises:
        SystemExit: There is no CUDA device.
    """
    if rehearse:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise SystemExit(
            f"A CUDA device must be there to be measured. Found none by PyTorch {torch.__version__}. Run this on a "
            "machine with an NVIDIA GPU and a CUDA build of PyTorch, or pass `--rehearse` to run it in miniature on "
            "the CPU, which keeps no figures."
        )
    return torch.device("cuda", torch.cuda.current_device())


def machine_with_card(device: torch.device) -> dict[str, object]:
    """What the figures were measured on: that of the other benchmarks, and the card with its driver and versions."""
    found = machine()
    absent = [one for one in found["not installed"] if one != "jax"] if isinstance(found["not installed"], list) else []
    if not ott.serves(device):
        absent = [one for one in absent if one != "ott-jax"] + [f"ott-jax on {device.type}"]
    for name in ("triton", *_PEERS):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            absent.append(name)
    return found | (_described(device) if device.type == "cuda" else {}) | {"not installed": absent}


def _described(device: torch.device) -> dict[str, object]:
    about = torch.cuda.get_device_properties(device)
    return {
        "card": about.name,
        "capability": f"{about.major}.{about.minor}",
        "multiprocessors": about.multi_processor_count,
        "memory_gib": about.total_memory / 2**30,
        "l2_mib": about.L2_cache_size / 2**20,
        "driver": _driver(),
        "cuda": torch.version.cuda,
    }


def _driver() -> str | None:
    try:
        asked = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return None
    return asked.stdout.strip().partition("\n")[0] or None


def path(cost: torch.Tensor) -> str:
    """Tell who computes the passes over these costs."""
    if importlib.util.find_spec("partialot.kernels.triton") is not None:
        kernels = importlib.import_module("partialot.kernels.triton")
        if kernels.available(cost):
            return "Triton"
    cpu = importlib.import_module("partialot.kernels.cpu")
    return "native" if cpu.available(cost) else "plain PyTorch"


def most_held(run: Callable[[], object], device: torch.device) -> float:
    """Bytes that are held at most while something runs, beside what was held before."""
    if device.type != "cuda":
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        run()
        return 1024.0 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return float(torch.cuda.max_memory_allocated(device) - before)
