from dataclasses import dataclass
from pathlib import Path

import pytest

from fewshot.cli import main
from fewshot.data.folder import Folder


@dataclass(frozen=True)
class OwnRun:
    """A run on photographs of one's own, as `fewshot train` left it.

    Attributes:
        words: What was typed.
        data: The options that name the photographs.
        output: Its folder.
        weights: What it learnt; fold 0 held out `red` and `green`.
    """

    words: list[str]
    data: list[str]
    output: Path

    @property
    def weights(self) -> Path:
        return self.output / "training" / "last.safetensors"


@pytest.fixture(scope="session")
def own_run(photographs: Folder, tmp_path_factory: pytest.TempPathFactory) -> OwnRun:
    """Train by the preset for photographs, with a small backbone, at 32 pixels."""
    root = tmp_path_factory.mktemp("own")
    data = ["--data=Folder", f"--data.root={photographs.root}", f"--data.index={photographs.index}", "--data.folds=2"]
    sizes = ["--network.backbone=small", "--network.width=16", "--pretraining.steps=1", "--pretraining.batch_size=2"]
    sizes += ["--pretraining.augmentation.size=32", "--training.steps=2", "--training.warmup=0"]
    sizes += ["--training.batch_size=2", "--evaluation.episodes=8", "--evaluation.shots=[1,2]"]
    sizes += ["--evaluation.fit.size=32"]
    words = ["train", "--config=photographs", *data, *sizes, f"--output={root / 'run'}", f"--cache={root / 'cache'}"]
    main(words)
    return OwnRun(words, data, root / "run")
