"""A supervised stage in miniature, the same in every process."""

from pathlib import Path

import torch

from fewshot.data.augmentation import Augmentation
from fewshot.hardware import Hardware
from fewshot.model.backbone import Backbone, build_backbone
from fewshot.pretraining.pretrain import Pretrained, PretrainingConfig, Supervision, pretrain
from fewshot.pretraining.supervision import SupervisedBatches
from tests.fewshot.training_cases import CPU, TINY, Death, Veiled, be_rank

CROP = Augmentation(size=64, scale=(1.0, 1.0), rotation_probability=0.0, blur_probability=0.0)
CONFIG = PretrainingConfig(
    steps=30,
    batch_size=4,
    learning_rate=0.05,
    head_learning_rate=0.05,
    head="linear",
    augmentation=CROP,
    checkpoint_every=8,
)


def make_backbone(seed: int = 0) -> Backbone:
    """Build a backbone with weights that every process draws alike."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_backbone("small")


def supervise(data_cache: Path, config: PretrainingConfig = CONFIG) -> Supervision:
    """Take the pictures of the base classes."""
    data = Veiled(TINY, cache=data_cache)
    return Supervision(data, data.load_index(0), data.fold(0), config.convention)


def pretrain_tiny(
    cache: Path,
    data_cache: Path,
    config: PretrainingConfig = CONFIG,
    *,
    seed: int = 0,
    hardware: Hardware = CPU,
    backbone: Backbone | None = None,
) -> tuple[Backbone, Pretrained]:
    """Train in miniature."""
    backbone = backbone or make_backbone()
    return backbone, pretrain(
        backbone, supervise(data_cache, config), config, seed=seed, cache=cache, hardware=hardware
    )


def pretrain_until_killed(cache: Path, data_cache: Path, death: Death) -> None:
    """Train, or go on training, until it is over."""
    death.arrange(SupervisedBatches, CONFIG.batch_size)
    pretrain_tiny(cache, data_cache)


def pretrain_on_rank(rank: int, port: int, cache: Path, data_cache: Path, config: PretrainingConfig) -> None:
    """Be one of two processes that `torchrun` started, and train in it."""
    be_rank(rank, port)
    pretrain_tiny(cache, data_cache, config, hardware=Hardware(accelerator="cpu", devices=2))
