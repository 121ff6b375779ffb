"""A run: a network trained on the held-in classes of a fold and scored on the held-out ones, from one configuration."""

import logging
from dataclasses import dataclass, replace
from functools import partial

import torch

from fewshot.checkpoint import save_checkpoint
from fewshot.data.episodes import TrainingEpisodes
from fewshot.data.index import Index
from fewshot.data.pools import training_pool
from fewshot.data.sampling import EpisodeSampler
from fewshot.evaluation.evaluate import PreparedEvaluation, evaluate, evaluate_fold, prepare_evaluation
from fewshot.evaluation.extraction import MAX_BYTES, load_features, measure_features
from fewshot.evaluation.protocol import EvaluationConfig, list_episodes, open_pool
from fewshot.evaluation.results import Origin, Result
from fewshot.model.backbone import Backbone, build_backbone, load_backbone_weights
from fewshot.model.cmnet import CMNet
from fewshot.pretraining.pretrain import Supervision, load_stage1, pretrain
from fewshot.processes import first_process_first, join_processes, require_shared_folder
from fewshot.run_config import RunConfig
from fewshot.training.batches import FeatureBatches, PixelBatches
from fewshot.training.train import TrainingResult, train

INITIALISATION_SEED = 7919
"""Added to the seed of a run for its initial weights, so that they and its episodes come from different streams."""

TRAINING = "training"
"""Folder, inside that of a run, of what training keeps."""

logger = logging.getLogger(__name__)


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
        ValueError: As for `take_up`, whose other errors pass through too.
    """
    network, trained = take_up(config)
    result = evaluate_fold(
        network,
        config.data,
        config.fold,
        config.evaluation,
        origin=Origin(describe_selection(config, trained), config.convention, config.describe()),
        cache=config.feature_cache,
    )
    return Run(network, trained, result)


def take_up(config: RunConfig) -> tuple[CMNet, TrainingResult]:
    """Train a network, or go on with what is in the folder of the run; a training that is done is only read.

    Returns:
        The network, in eval mode and where the configuration wants it, and how its training went.

    Raises:
        NonFiniteLossError: Training broke down; the batch is kept in the folder.
        ValueError: Data, weights or a state in the folder do not fit the configuration, or several processes do not
            share its folders.
        FileNotFoundError: Files of the data set or of weights are missing.
    """
    join_processes(config.hardware.device)
    for folder in (config.output, config.cache):
        require_shared_folder(folder)
    with first_process_first():
        index = config.data.load_index(config.fold)
    check_episodes(config, index)
    network = build_network(config, index)
    trained = train_network(network, config, index)
    return network.to(config.hardware.device), trained


def check_episodes(config: RunConfig, index: Index) -> None:
    """Make sure that there is something to learn from and to score on, before hours of training.

    Raises:
        ValueError: A class has too few images for the shots, or none; or as for `list_episodes`.
    """
    draw_training_episodes(config, index)
    if config.training.select == "base_val":
        _require_held_in_images(config, index)
    validation = [] if config.training.select == "last" else [configure_validation(config)]
    for evaluation in (*validation, config.evaluation):
        list_episodes(open_pool(config.data, index, config.fold, evaluation), evaluation)


def _require_held_in_images(config: RunConfig, index: Index) -> None:
    """Refuse to choose weights by classes that the images to test on do not show, as those of FSS-1000 do not."""
    images_of = open_pool(config.data, index, config.fold, configure_validation(config)).images_of
    needed = config.training.shot + 1
    lacking = [index.classes[class_id - 1] for class_id, numbers in images_of.items() if len(numbers) < needed]
    if lacking:
        raise ValueError(
            f"`training.select` may be 'base_val' where at least {needed} of the images to test on show each held-in "
            f"class. Found fewer of {len(lacking)} of the {len(images_of)}, such as {lacking[0]!r}, in "
            f"{type(config.data).__name__}. Set `training.select` to 'last', or add such images."
        )


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
    elif config.stage1 is None:
        logger.warning("The supervised stage starts from a random backbone: `weights` names no file.")
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
    return train(
        network,
        gather_batches(network, config, index),
        config.training,
        seed=config.seed,
        folder=config.output / TRAINING,
        save=partial(
            save_checkpoint,
            fit=config.evaluation.fit,
            trained_on=tuple(index.classes[class_id - 1] for class_id in config.data.fold(config.fold).held_in),
            settings=config.describe(),
        ),
        validate=None if config.training.select == "last" else Validation(config),
        hardware=config.hardware,
    )


def gather_batches(network: CMNet, config: RunConfig, index: Index) -> FeatureBatches | PixelBatches:
    """Say what is trained on: images that are augmented anew each time, or features that are computed once."""
    sampler = draw_training_episodes(config, index)
    pool = sampler.pool
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
    network.to(config.hardware.device)
    store = load_features(network, config.data, pool, fit, digest=index.train.digest, cache=config.cache)
    return FeatureBatches(store, sampler)


def draw_training_episodes(config: RunConfig, index: Index) -> EpisodeSampler:
    """Say which episodes are learnt from.

    Raises:
        ValueError: A class has too few images.
    """
    rule = config.data.draw_rule if config.rule is None else config.data.complete_rule(config.rule)
    pool = training_pool(index.train, config.data.fold(config.fold), convention=config.convention, rule=rule)
    return config.training.make_sampler(pool, seed=config.seed)


class Validation:
    """Scores a network in mid-training: one list of episodes, of held-in or of held-out classes as `select` says.

    Index and features are loaded the first time and kept.
    """

    def __init__(self, config: RunConfig) -> None:
        """Load nothing yet."""
        self.config, self.evaluation = config, configure_validation(config)
        self._prepared: PreparedEvaluation | None = None

    def __call__(self, network: CMNet) -> float:
        """Give the mIoU, in per cent."""
        config, evaluation = self.config, self.evaluation
        if self._prepared is None:
            self._prepared = prepare_evaluation(
                network, config.data, config.fold, evaluation, cache=config.feature_cache
            )
        episodes, store = self._prepared.lists[0], self._prepared.store
        return evaluate(network, config.data, episodes, evaluation, store=store).scores.miou


def configure_validation(config: RunConfig) -> EvaluationConfig:
    """Say what a network is scored on in mid-training."""
    return replace(
        config.evaluation,
        shots=(config.training.shot,),
        # A list that is not scored in the end: whoever chooses by it must not be judged by it.
        seeds=(max(config.evaluation.seeds) + 1,),
        episodes_file=None,
        classes="held_in" if config.training.select == "base_val" else "held_out",
        episodes_folder=None,
    )


def describe_selection(config: RunConfig, trained: TrainingResult) -> str:
    """Say which weights were scored."""
    if config.training.select == "last":
        return "last"
    classes = "held-in" if config.training.select == "base_val" else "held-out"
    return f"best mIoU on {classes} classes, step {trained.selected_step}"
