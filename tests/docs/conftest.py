from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fewshot.checkpoint import save_checkpoint
from fewshot.data.fitting import Fit
from fewshot.demo import WEIGHTS
from fewshot.model import CMNet, CMNetConfig
from tests.docs.pages import ROOT, find_programs

SIZE = (64, 48)
"""Width and height of the photographs."""


def draw_pictures(folder: Path) -> None:
    """Photographs of three classes with masks, new ones, and the example of the demonstration."""
    generator = np.random.default_rng(0)
    mask = np.zeros((SIZE[1], SIZE[0]), dtype=np.uint8)
    mask[10:30, 20:50] = 255
    photographs = [f"photos/{name}/images/{number}.jpg" for name in ("cat", "cup", "dog") for number in (1, 2)]
    masks = [path.replace("images", "masks").replace("jpg", "png") for path in photographs]
    demonstration = [f"runs/demo/example/{name}.png" for name in ("query", "support")]
    for path in (*photographs, "new/1.jpg", "new/2.jpg", *demonstration):
        save(folder / path, generator.integers(0, 256, (*mask.shape, 3), dtype=np.uint8))
    for path in (*masks, "runs/demo/example/support_mask.png"):
        save(folder / path, mask)


def save(path: Path, values: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the pictures that pages speak of and, for a trained network, an untrained one."""
    draw_pictures(tmp_path)
    network = CMNet(CMNetConfig(backbone="small", width=16, decoder="aspp", dilations=(1, 2)))
    for path in (f"runs/demo/{WEIGHTS}", "runs/photos/training/last.safetensors"):
        save_checkpoint(network, tmp_path / path, fit=Fit(48))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run_page(workplace: Path) -> Callable[[str], dict[str, Any]]:
    """Run all programs of a page, one after the other in one namespace, and give that."""

    def run(name: str) -> dict[str, Any]:
        namespace = vars(ModuleType("page"))
        for program, _ in find_programs(ROOT / name):
            exec(program, namespace)
        return namespace

    return run
