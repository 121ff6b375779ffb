"""A run in miniature: synthetic pictures at half their size, a light head, a few steps."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewshot.data.fitting import Fit
from fewshot.data.storage import hash_tensors
from fewshot.data.synthetic import Synthetic
from fewshot.evaluation.protocol import EvaluationConfig
from fewshot.model.cmnet import CMNet
from fewshot.model.config import CMNetConfig
from fewshot.run_config import RunConfig
from fewshot.training.config import TrainingConfig
from tests.fewshot import pretraining_cases
from tests.fewshot.training_cases import CPU, NETWORK, TINY

FIT = Fit(32, "square")
LIGHT: CMNetConfig = replace(NETWORK, refinement_passes=0)
PRETRAINING = replace(
    pretraining_cases.CONFIG, steps=2, augmentation=replace(pretraining_cases.CROP, size=32), check_images=0
)
EVALUATION = EvaluationConfig(shots=(1, 2), episodes=8, seeds=(7,), order="class", fit=FIT, workers=0)
TRAINING = TrainingConfig(steps=3, batch_size=2, learning_rate=0.05, order="class")


def make_run(output: Path, cache: Path, **changes: Any) -> RunConfig:
    """Configure a run that takes a fraction of a second, on a random backbone unless `multi_task` is asked for."""
    config = RunConfig(
        data=Synthetic(TINY, cache=cache),
        output=output,
        seed=1,
        network=LIGHT,
        multi_task=False,
        stage1_seed=4,
        pretraining=PRETRAINING,
        training=TRAINING,
        evaluation=EVALUATION,
        hardware=CPU,
        cache=cache,
    )
    return replace(config, **changes)


def backbone_of(network: CMNet) -> str:
    """Name the backbone by its weights."""
    return hash_tensors(network.backbone.state_dict())


def list_differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """Name the weights in which two networks differ."""
    assert one.keys() == other.keys()
    return [name for name, value in one.items() if not torch.equal(value, other[name])]


def command_words(command: str, output: Path, cache: Path, *options: str) -> list[str]:
    """Type a command that takes the options of a run: the preset for synthetic data, cut to the same size."""
    words = [command, "--config=synthetic", f"--output={output}", f"--data.cache={cache}", f"--cache={cache}"]
    words += [f"--data.recipe.{name}={count}" for name, count in asdict(TINY).items()]
    words += ["--network.width=16", "--pretraining.steps=2", "--pretraining.batch_size=4"]
    words += ["--pretraining.augmentation.size=32", "--training.steps=6", "--training.warmup=0"]
    words += ["--training.batch_size=2", "--evaluation.shots=[1,2]", "--evaluation.episodes=8"]
    return [*words, "--evaluation.fit.size=32", "--evaluation.seeds=[7]", *options]
