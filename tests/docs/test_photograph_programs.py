"""The programs about a folder of photographs run as printed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fewshot.checkpoint import save_checkpoint
from fewshot.data.fitting import Fit
from fewshot.model import CMNet, CMNetConfig
from tests.docs.pages import ROOT, find_blocks

SIZE = (64, 48)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with photographs of three classes, new ones, and an untrained network."""
    generator = np.random.default_rng(0)

    def draw(path: Path, values: np.ndarray[Any, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(path)

    def photograph(path: Path) -> None:
        draw(path, generator.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8))

    mask = np.zeros((SIZE[1], SIZE[0]), dtype=np.uint8)
    mask[10:30, 20:50] = 255
    for name in ("cat", "cup", "dog"):
        for number in (1, 2):
            photograph(tmp_path / f"photos/{name}/images/{number}.jpg")
            draw(tmp_path / f"photos/{name}/masks/{number}.png", mask)
    for number in (1, 2):
        photograph(tmp_path / f"new/{number}.jpg")
    network = CMNet(CMNetConfig(backbone="small", width=16, decoder="aspp", dilations=(1, 2)))
    save_checkpoint(network, tmp_path / "runs/photos/training/last.safetensors", fit=Fit(48))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run_page(folder: Path) -> Callable[[str], dict[str, Any]]:
    """Run all programs of a page, one after the other in one namespace, and give that."""

    def run(name: str) -> dict[str, Any]:
        namespace: dict[str, Any] = {}
        for program in find_blocks(ROOT / "docs" / name, "python"):
            exec(program, namespace)
        return namespace

    return run


def test_your_own_photographs_are_segmented(
    run_page: Callable[[str], dict[str, Any]], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run_page("your_own_photographs.md")["found"]
    assert capsys.readouterr().out.endswith("% of the picture is cat\n")
    for name in ("cat", "cat-0", "cat-1"):
        with Image.open(folder / f"{name}.png") as mask:
            assert mask.size == SIZE
    page = (ROOT / "docs" / "your_own_photographs.md").read_text(encoding="utf-8")
    fields = page.partition("| of `found` |")[2].partition("\n\n")[0]
    assert [name for name in vars(found) if f"`{name}`" not in fields] == []


def test_another_mass_moves_without_training(run_page: Callable[[str], dict[str, Any]]) -> None:
    namespace = run_page("try_it.md")
    assert namespace["segmenter"].model.config.matching.mass_ratio == 1.0
    assert namespace["found"].mask.shape == SIZE[::-1]


def test_a_folder_is_a_data_set(run_page: Callable[[str], dict[str, Any]]) -> None:
    namespace = run_page("data.md")
    assert len(namespace["train"].entries) == 2
    assert len(namespace["test"].entries) == 4
    assert namespace["labelled"].labels.shape == SIZE[::-1]


def test_the_first_program_has_at_most_five_lines() -> None:
    program = find_blocks(ROOT / "docs" / "your_own_photographs.md", "python")[0]
    assert len([line for line in program.splitlines() if line.strip()]) <= 5
