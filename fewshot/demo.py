"""The demonstration: a small CMNet learns on synthetic base classes and is scored on classes that it never saw.

Two heads are trained on the same frozen features and the same episodes and are evaluated on the same episodes: one that
compares the query with the support's prototype only, and one that also sees the map of partial optimal transport.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from fewshot.checkpoint import save_checkpoint
from fewshot.data.sampling import EpisodeSampler, EpisodeSpec
from fewshot.data.scene import IMAGE_SIZE
from fewshot.data.synthetic import LabelledImages, SyntheticRecipe, load_split
from fewshot.evaluation import Evaluation, evaluate
from fewshot.features import FeatureStore
from fewshot.loops import require_positive
from fewshot.model.cmnet import CMNet
from fewshot.model.config import CMNetConfig
from fewshot.model.matching import MatchingConfig
from fewshot.pretraining import PretrainedBackbone, PretrainingConfig, pretrain_backbone
from fewshot.report import Duration, Row, Run, write_report
from fewshot.training import TrainingConfig, train_episodically

BASELINE = "prototype only"
PARTIAL = "partial transport"
EVALUATION_SEED = 1000
"""Seed of the evaluation episodes, apart from the training seed so that runs of different seeds are comparable."""
INITIALISATION_SEED = 7919
"""Added to the seed of a head's initial weights, so that they and its episodes come from different streams."""


@dataclass(frozen=True)
class DemoConfig:
    """What the demonstration does.

    Attributes:
        output: Folder of the report.
        cache: Folder of what later runs can use again: images, pretrained backbones.
        seed: Decides initial weights, training episodes and dropout. Equal seeds give equal scores on one machine
            with as many threads (sums of floats depend on how they are split).
        episodes: Evaluation episodes for each number of shots.
        shots: Numbers of support images to evaluate with; training is with one.
        width: Channels of the heads.
        workers: Processes that draw the images.
        data: Which images are drawn.
        pretraining: The supervised stage.
        training: The episodic stage, for each head.
        matching: The transport problem of the second head.
    """

    output: Path = Path("runs/demo")
    cache: Path = Path(".cache/fewshot")
    seed: int = 0
    episodes: int = 600
    shots: tuple[int, ...] = (1, 5)
    width: int = 64
    workers: int = 2
    data: SyntheticRecipe = field(default_factory=SyntheticRecipe)
    pretraining: PretrainingConfig = field(default_factory=PretrainingConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    # The features that are compared are frozen, so no gradient is lost.
    matching: MatchingConfig = field(default_factory=lambda: MatchingConfig(features="mid", max_iter=20, detach=True))

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        for name in ("episodes", "width", "workers"):
            require_positive(name, getattr(self, name))
        if not self.shots or min(self.shots) < 1:
            raise ValueError(
                f"`shots` must name at least one number of support images, each at least 1. Found "
                f"`shots = {self.shots}`. Pass 1 for one-shot evaluation."
            )


@dataclass
class Stopwatch:
    """Wall and processor time of the stages of a run, by name."""

    durations: dict[str, Duration] = field(default_factory=dict)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Time what runs inside, this process and the finished ones it started."""
        wall, processor = time.perf_counter(), _processor_seconds()
        yield
        self.durations[stage] = Duration(time.perf_counter() - wall, _processor_seconds() - processor)


def _processor_seconds() -> float:
    return sum(os.times()[:4])


def configure_heads(config: DemoConfig) -> dict[str, CMNetConfig]:
    """Give the two networks, which differ in one field: whether the decoder sees the transport map."""
    baseline = CMNetConfig(
        backbone="small",
        width=config.width,
        position="none",
        message_flow=(),
        prior=False,
        transport="none",
        matching=config.matching,
        dilations=(1, 2, 4),
        dropout=0.1,
    )
    return {BASELINE: baseline, PARTIAL: replace(baseline, transport="partial")}


def run_demo(config: DemoConfig) -> Run:
    """Draw the images, train backbone and heads, evaluate, write the report.

    Args:
        config: What to do.

    Returns:
        The scores and how they came about; the same as in the report's `scores.json`.

    Raises:
        NonFiniteLossError: Training broke down.
        ValueError: The classes have too few images for the shots.
    """
    watch = Stopwatch()
    with watch.measure("images"):
        base = load_split(config.data, "base", cache=config.cache, workers=config.workers)
        novel = load_split(config.data, "novel", cache=config.cache, workers=config.workers)
    # Before anything is trained, not after: this refuses classes with too few images.
    episodes = {shot: draw_evaluation_episodes(novel, shot, config.episodes) for shot in config.shots}
    with watch.measure("supervised stage"):
        pretrained = pretrain_backbone("small", base, config.pretraining, seed=config.seed, cache=config.cache)
    networks = {name: _build_network(head, pretrained, config.seed) for name, head in configure_heads(config).items()}
    with watch.measure("features"):
        base_store = FeatureStore(networks[BASELINE], base, description="Features of base images")
        novel_store = FeatureStore(networks[BASELINE], novel, description="Features of novel images")
    rows: dict[str, Row] = {}
    for name, network in networks.items():
        with watch.measure(f"training, {name}"):
            losses = train_episodically(
                network, base_store, base.class_ids, config.training, seed=config.seed, description=f"Training, {name}"
            )
        # Kept at once: whatever interrupts the run later on, this much is trained.
        save_checkpoint(network, checkpoint_path(config.output, name), image_size=IMAGE_SIZE)
        with watch.measure(f"evaluation, {name}"):
            rows[name] = Row(losses, _evaluate_shots(network, novel_store, episodes, name))
    run = Run(_settings(config), pretrained.losses, rows, watch.durations)
    specs = episodes[min(episodes)]
    write_report(run, networks[PARTIAL], novel, specs, checkpoint_path(config.output, PARTIAL), output=config.output)
    return run


def _settings(config: DemoConfig) -> dict[str, Any]:
    """Turn the configuration into what JSON can hold."""
    return json.loads(json.dumps(asdict(config), default=str))


def checkpoint_path(output: Path, name: str) -> Path:
    """Say where the weights of a head are kept."""
    return output / f"{name.replace(' ', '-')}.safetensors"


def draw_evaluation_episodes(novel: LabelledImages, shot: int, count: int) -> tuple[EpisodeSpec, ...]:
    """Draw the fixed evaluation episodes of novel classes."""
    return EpisodeSampler(novel.labels, novel.class_ids, shot=shot, seed=EVALUATION_SEED).draw_many(0, count)


def _build_network(head: CMNetConfig, pretrained: PretrainedBackbone, seed: int) -> CMNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(INITIALISATION_SEED + seed)
        network = CMNet(head)
    network.backbone.load_state_dict(pretrained.weights)
    return network


def _evaluate_shots(
    network: CMNet, store: FeatureStore, episodes: dict[int, tuple[EpisodeSpec, ...]], name: str
) -> dict[int, Evaluation]:
    return {
        shot: evaluate(network, store, specs, store.data.class_ids, description=f"{shot}-shot evaluation, {name}")
        for shot, specs in episodes.items()
    }
