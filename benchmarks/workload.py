"""What the benchmarks solve, and what they were run on."""

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor


@dataclass(frozen=True)
class Workload:
    """A batch of cosine costs between clustered features, as matching images gives them."""

    batch: int
    nodes: int
    mass: float
    reg: float
    error: float

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


def violation(plan: Tensor, weight: float, mass: float) -> float:
    """Violation summed over the rows, over the columns, and of the mass, relative to it; the worst of the batch."""
    plan = plan.double()
    rows, columns = ((plan.sum(side) - weight).clamp(min=0).sum(-1) for side in (-1, -2))
    amount = (plan.sum((-2, -1)) - mass).abs()
    return torch.stack([rows, columns, amount]).max().item() / mass


def machine() -> dict[str, str | int | float]:
    """What the figures were measured on, and how busy it was."""
    info = Path("/proc/cpuinfo")
    models = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    versions: dict[str, str] = {}
    for name in ("torch", "numpy", "pot", "jax", "ott-jax", "geomloss", "pykeops"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "commit": commit,
        **versions,
    }
