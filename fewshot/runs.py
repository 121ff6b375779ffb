"""A run: a network trained on the held-in classes of a fold and scored on the held-out ones, from one configuration."""

import logging
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fewshot.checkpoint import save_checkpoint
from fewshot.data.augmentation import Augmentation
from fewshot.data.dataset import DataSet
from fewshot.data.episodes import TrainingEpisodes
from fewshot.data.index import Index
from fewshot.data.pools import Convention, DrawRule, check_convention, training_pool
from fewshot.evaluation.description import to_plain
from fewshot.evaluation.evaluate import evaluate_fold
from fewshot.evaluation.extraction import MAX_BYTES, load_features, measure_features
from fewshot.evaluation.protocol import EvaluationConfig
from fewshot.evaluation.results import Origin, Result
from fewshot.hardware import Hardware
from fewshot.model.backbone import Backbone, build_backbone, load_backbone_weights
from fewshot.model.cmnet import CMNet
from fewshot.model.config import CMNetConfig
from fewshot.pretraining.pretrain import PretrainingConfig, Supervision, load_stage1, pretrain
from fewshot.training.batches import FeatureBatches, PixelBatches
from fewshot.training.train import TrainingConfig, TrainingResult, train

INITIALISATION_SEED = 7919
"""Added to the seed of a run for its initial weights, so that they and its episodes come from different streams."""

TRAINING = "training"
"""Folder, inside that of a run, of what training keeps."""

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
        if self.augmentation is None and self.network.backbone_bn == "train":
            raise ValueError(
                "`augmentation` must be given where `network.backbone_bn` is 'train'. Found None, which trains on "
                "features that are computed once, while the backbone's statistics drift. Give both, or neither."
            )
        if min(self.seed, self.stage1_seed) < 0:
            raise ValueError(
                f"Seeds must be at least 0. Found `seed = {self.seed}`, `stage1_seed = {self.stage1_seed}`. Pass "
                f"non-negative integers."
            )

    @property
    def feature_cache(self) -> Path | None:
        """The folder of features for the evaluation; None where the backbone's statistics drift while heads train."""
        return self.cache if self.network.backbone_bn == "eval" else None

    def describe(self) -> dict[str, Any]:
        """Say what the result depends on, as JSON can hold it: everything but folders of its own."""
        fields = asdict(self)
        data = {"type": type(self.data).__name__, "fields": fields.pop("data")}
        for name in ("output", "cache"):
            del fields[name]
        return to_plain({"data": data, **fields})


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        network: In eval mode, with the weights that `training.select` asked for.
        trained: How the training went.
        result: What the network scored.
    """

    network: CMNet
    trained: TrainingResult
    result: Result


def run(config: RunConfig) -> Run:
    """Train a network and score it; whatever an interrupted run of the same folder had is taken up.

    Raises:
        NonFiniteLossError: Training broke down; the batch is kept in the folder.
        ValueError: Data, weights or a state in the folder do not fit the configuration.
        FileNotFoundError: Files of the data set or of weights are missing.
    """
    index = config.data.load_index(config.fold)
    network = build_network(config, index)
    trained = train_network(network, config, index)
    network.to(config.hardware.device)
    result = evaluate_fold(
        network,
        config.data,
        config.fold,
        config.evaluation,
        origin=Origin(describe_selection(config, trained), config.convention, config.describe()),
        cache=config.feature_cache,
    )
    return Run(network, trained, result)


def build_network(config: RunConfig, index: Index) -> CMNet:
    """Make the network: a head of the run's seed on a backbone that holds what the configuration says.

    The backbone is random, from ImageNet, or from the supervised stage.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(INITIALISATION_SEED + config.seed)
        network = CMNet(config.network)
    network.backbone.load_state_dict(prepare_backbone(config, index).state_dict())
    return network


def prepare_backbone(config: RunConfig, index: Index) -> Backbone:
    """Make the backbone that heads of all seeds share."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.stage1_seed)
        backbone = build_backbone(config.network.backbone, stem=config.network.stem)
    if config.weights is not None:
        load_backbone_weights(backbone, config.weights)
    elif not config.multi_task:
        logger.warning("The backbone is random: `weights` names no file, and `multi_task` is off.")
    if not config.multi_task:
        return backbone
    supervision = Supervision(config.data, index, config.data.fold(config.fold), config.pretraining.convention)
    if config.stage1 is not None:
        load_stage1(config.stage1, backbone, supervision)
    else:
        pretrain(
            backbone,
            supervision,
            config.pretraining,
            seed=config.stage1_seed,
            cache=config.cache,
            hardware=config.hardware,
        )
    return backbone


def train_network(network: CMNet, config: RunConfig, index: Index) -> TrainingResult:
    """Train a network in place on the held-in classes, in the folder `training` of the run."""
    fold = config.data.fold(config.fold)
    return train(
        network,
        gather_batches(network, config, index),
        config.training,
        seed=config.seed,
        folder=config.output / TRAINING,
        save=partial(
            save_checkpoint,
            fit=config.evaluation.fit,
            trained_on=tuple(index.classes[class_id - 1] for class_id in fold.held_in),
            settings=config.describe(),
        ),
        validate=None if config.training.select == "last" else partial(validate, config=config),
        hardware=config.hardware,
    )


def gather_batches(network: CMNet, config: RunConfig, index: Index) -> FeatureBatches | PixelBatches:
    """Say what is trained on: images that are augmented anew each time, or features that are computed once."""
    rule = config.data.draw_rule if config.rule is None else config.data.complete_rule(config.rule)
    pool = training_pool(index.train, config.data.fold(config.fold), convention=config.convention, rule=rule)
    sampler = config.training.make_sampler(pool, seed=config.seed)
    if config.augmentation is not None:
        length = config.training.count_steps(pool) * config.training.batch_size
        return PixelBatches(
            TrainingEpisodes(config.data, sampler, config.augmentation, seed=config.seed, length=length)
        )
    fit = config.evaluation.fit
    size = measure_features(network, pool, fit)
    if size > MAX_BYTES:
        raise ValueError(
            f"Features that are computed once must take at most {MAX_BYTES / 2**30:.0f} GiB. Found that those of "
            f"{len(pool.entries)} images of {fit.size} pixels would take {size / 2**30:.1f} GiB. Set `augmentation`, "
            f"so that images are read in every step, or lower `evaluation.fit.size`."
        )
    store = load_features(network, config.data, pool, fit, digest=index.train.digest, cache=config.cache)
    return FeatureBatches(store, sampler)


def validate(network: CMNet, config: RunConfig) -> float:
    """Score a network in mid-training: one list of episodes, of held-in or of held-out classes as `select` says."""
    classes = "held_in" if config.training.select == "base_val" else "held_out"
    evaluation = replace(
        config.evaluation, shots=(config.training.shot,), seeds=config.evaluation.seeds[:1], classes=classes
    )
    origin = Origin("in training", config.convention)
    result = evaluate_fold(network, config.data, config.fold, evaluation, origin=origin, cache=config.feature_cache)
    return result.runs[0].scores.miou


def describe_selection(config: RunConfig, trained: TrainingResult) -> str:
    """Say which weights were scored."""
    if config.training.select == "last":
        return "last"
    classes = "held-in" if config.training.select == "base_val" else "held-out"
    return f"best mIoU on {classes} classes, step {trained.selected_step}"
