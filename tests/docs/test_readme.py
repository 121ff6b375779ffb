"""The programs of the README run as printed."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot.checkpoint import save_checkpoint
from fewshot.cli import parse
from fewshot.commands.options import read_run
from fewshot.data.fitting import Fit
from fewshot.demo import WEIGHTS
from fewshot.model import CMNet, CMNetConfig
from tests.docs.pages import ROOT, find_blocks

PROGRAMS = find_blocks(ROOT / "README.md", "python")


@pytest.fixture
def after_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files that the demo leaves, from an untrained network."""
    example = tmp_path / "runs" / "demo" / "example"
    example.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name in ("query", "support"):
        Image.fromarray(generator.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(example / f"{name}.png")
    mask = np.zeros((48, 64), dtype=np.uint8)
    mask[10:30, 20:50] = 1
    Image.fromarray(mask).save(example / "support_mask.png")
    network = CMNet(CMNetConfig(backbone="small", width=16, dilations=(1, 2)))
    save_checkpoint(network, tmp_path / "runs" / "demo" / WEIGHTS, fit=Fit(48))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_each_program_has_at_most_five_lines() -> None:
    assert all(len([line for line in program.splitlines() if line.strip()]) <= 5 for program in PROGRAMS)


def test_the_solve_prints_plan_value_price_and_gap(capsys: pytest.CaptureFixture[str]) -> None:
    exec(PROGRAMS[0], {})
    assert capsys.readouterr().out.count("tensor(") == 4


def test_the_prediction_writes_a_mask_of_the_size_of_the_query(after_the_demo: Path) -> None:
    exec(PROGRAMS[1], {})
    with Image.open(after_the_demo / "prediction.png") as mask:
        assert mask.size == (64, 48)


def test_the_demo_leaves_the_files_that_the_prediction_reads() -> None:
    output = read_run(parse(["demo"])["demo"]).output
    assert str(output / WEIGHTS) in PROGRAMS[1]
    assert str(output / "example") in PROGRAMS[1]
