"""A run: a network trained on the held-in classes of a fold and scored on the held-out ones, from one configuration."""

import logging
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from fewshot.batches import BatchSource, FeatureBatches
from fewshot.checkpoint import save_checkpoint
from fewshot.data.augmentation import Augmentation
from fewshot.data.dataset import DataSet
from fewshot.data.index import Index
from fewshot.data.pools import Convention, DrawRule, EpisodePool, check_convention, evaluation_pool, training_pool
from fewshot.evaluation import evaluate_fold
from fewshot.extraction import load_features
from fewshot.hardware import Hardware
from fewshot.model.backbone import load_backbone_weights
from fewshot.model.cmnet import CMNet
from fewshot.model.config import CMNetConfig
from fewshot.pretraining import PretrainingConfig
from fewshot.protocol import EvaluationConfig
from fewshot.results import Evaluations
from fewshot.training import TrainingConfig, TrainingResult, train

INITIALISATION_SEED = 7919
"""Added to the seed of a run for its initial weights, so that they and its episodes come from different streams."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunConfig:
    """Everything that a run depends on.

    Attributes:
        data: The data set.
        output: Folder of the run: configuration, state to resume from, weights, logs, result and report.
        fold: Which classes are held out.
        seed: Decides initial weights, training episodes and whatever else training draws.
        network: The network; each row of the paper's tables is one field away from the next.
        weights: File of ImageNet weights for the backbone. None leaves the backbone random, which is a control.
        multi_task: Train the backbone in the supervised stage first, on images without any held-out object.
        stage1: File of a backbone that `fewshot pretrain` left; None trains it, or takes it from the cache.
        stage1_seed: Seed of the supervised stage: runs of several seeds share one backbone, as the paper's rows do.
        pretraining: The supervised stage.
        convention: What becomes of training images with held-out objects in episodes.
        rule: When an image counts for a class. Default: as the data set says.
        augmentation: What is drawn for each image of a training episode. None trains on images as the evaluation fits
            them; features of the frozen backbone are then computed once and kept.
        training: How the network learns from episodes.
        evaluation: What it is scored on, and how.
        hardware: What it is trained on.
        cache: Folder of what several runs share: features, backbones of the supervised stage.
    """

    data: DataSet
    output: Path
    fold: int = 0
    seed: int = 321
    network: CMNetConfig = field(default_factory=CMNetConfig)
    weights: Path | None = None
    multi_task: bool = True
    stage1: Path | None = None
    stage1_seed: int = 321
    pretraining: PretrainingConfig = field(default_factory=PretrainingConfig)
    convention: Convention = "keep"
    rule: DrawRule | None = None
    augmentation: Augmentation | None = None
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    hardware: Hardware = field(default_factory=Hardware)
    cache: Path = Path(".cache/fewshot")

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            ValueError: `stage1` is given without `multi_task`, a seed is negative, or there is no such convention.
        """
        check_convention(self.convention)
        if self.stage1 is not None and not self.multi_task:
            raise ValueError(
                f"`stage1` must go with `multi_task`. Found `stage1 = {self.stage1}` and `multi_task = False`. Turn "
                f"`multi_task` on, or leave `stage1` out."
            )
        if min(self.seed, self.stage1_seed) < 0:
            raise ValueError(
                f"Seeds must be at least 0. Found `seed = {self.seed}`, `stage1_seed = {self.stage1_seed}`. Pass "
                f"non-negative integers."
            )
