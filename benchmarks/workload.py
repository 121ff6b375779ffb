"""What the benchmarks solve, and what they were run on."""

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor

PACKAGES = ("torch", "numpy", "pot", "jax", "ott-jax", "geomloss")
"""What is compared, and what it stands on."""


@dataclass(frozen=True)
class Workload:
    """A batch of cosine costs between clustered features, as matching images gives them; weights total 1.

    Attributes:
        batch: Problems.
        nodes: On each side of each.
        mass: To move; None = all, balanced.
        reg: Entropic regularisation in units of the cost, whose range is at most 2.
        error: `violation` that every solver must reach.
    """

    batch: int
    nodes: int
    mass: float | None
    reg: float
    error: float

    @property
    def moved(self) -> float:
        """Mass that a plan moves."""
        return 1.0 if self.mass is None else self.mass

    def cost(self) -> Tensor:
        """Costs (batch, nodes, nodes) in [0, 2], float32, the same every time."""
        generator = torch.Generator().manual_seed(0)
        centres = torch.randn(self.batch, 12, 64, generator=generator)
        sides = []
        for _ in range(2):
            chosen = torch.randint(12, (self.batch, self.nodes), generator=generator)
            noise = 0.7 * torch.randn(self.batch, self.nodes, 64, generator=generator)
            features = torch.take_along_dim(centres, chosen[..., None], dim=1) + noise
            sides.append(torch.nn.functional.normalize(features, dim=-1))
        return 1.0 - sides[0] @ sides[1].mT


def machine() -> dict[str, object]:
    """What the figures were measured on, and how busy it was."""
    info = Path("/proc/cpuinfo")
    models = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    versions = {name: found for name in PACKAGES if (found := _installed(name)) is not None}
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "commit": commit,
        **versions,
        "not installed": [name for name in PACKAGES if name not in versions],
    }


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
