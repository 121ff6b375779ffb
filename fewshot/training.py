"""Episodic training: everything after the frozen backbone learns to segment one task after another."""

from collections.abc import Iterator
from dataclasses import dataclass

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional

from fewshot.data.sampling import EpisodeSampler
from fewshot.episode import IGNORED
from fewshot.features import FeatureEpisodes, FeatureStore
from fewshot.loops import require_finite, require_positive, run_stage
from fewshot.model.cmnet import CMNet
from fewshot.model.prediction import Prediction


@dataclass(frozen=True)
class TrainingConfig:
    """How a head is trained: AdamW with a linear warm-up and a polynomial fall to zero.

    Attributes:
        steps: Weight updates.
        batch_size: Episodes in an update.
        learning_rate: The highest, reached after the warm-up.
        weight_decay: Of AdamW.
        power: Exponent of the fall.
        warmup: Steps in which the learning rate rises; gentle starts leave the all-background plateau sooner.
        max_gradient_norm: Longer gradients are shortened to this.
        shot: Support images in an episode.
    """

    steps: int = 700
    batch_size: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    power: float = 0.9
    warmup: int = 50
    max_gradient_norm: float = 5.0
    shot: int = 1

    def __post_init__(self) -> None:
        """Refuse values that train nothing."""
        for name in ("steps", "batch_size", "learning_rate", "max_gradient_norm", "shot"):
            require_positive(name, getattr(self, name))

    def learning_rate_factor(self, step: int) -> float:
        """Give the share of `learning_rate` that holds at a step, counted from 0."""
        rise = min(1.0, (step + 1) / (self.warmup + 1))
        return rise * max(0.0, 1.0 - step / self.steps) ** self.power


class EpisodeBatches:
    """The batches of a training run, in order: batch i holds the sampler's episodes i · batch_size and following."""

    def __init__(self, store: FeatureStore, sampler: EpisodeSampler, *, steps: int, batch_size: int) -> None:
        """Plan `steps` batches of `batch_size` episodes."""
        self.store = store
        self.sampler = sampler
        self.steps = steps
        self.batch_size = batch_size

    def __len__(self) -> int:
        """Count the batches."""
        return self.steps

    def __iter__(self) -> Iterator[FeatureEpisodes]:
        """Go through the batches; every iteration gives the same ones."""
        for step in range(self.steps):
            yield self.store.gather(self.sampler.draw_many(step * self.batch_size, self.batch_size))


class EpisodicStage(lightning.LightningModule):
    """A network that learns from episodes; its backbone stays as it is."""

    def __init__(self, network: CMNet, config: TrainingConfig) -> None:
        """Wrap a network."""
        super().__init__()
        self.network = network
        self.config = config
        self.losses: list[float] = []

    def on_fit_start(self) -> None:
        """Pass Lightning's check that everything is in training mode, which a frozen backbone never is."""
        self.network.backbone.train()

    def on_train_start(self) -> None:
        """Put the backbone back: `CMNet.train` leaves it in eval mode."""
        self.network.train()

    def training_step(self, batch: FeatureEpisodes, step: int) -> Tensor:
        """Give the loss of a batch of episodes."""
        prediction = self.network.segment(batch.query, batch.supports, batch.support_masks)
        loss = compute_loss(prediction, batch.query_mask)
        require_finite(loss, step, f"episodic training, on the episodes {batch.specs}")
        self.losses.append(loss.item())
        self.log("loss", loss, prog_bar=True, batch_size=len(batch.specs))
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Shorten long gradients, and stop at one that is no number before it reaches the weights."""
        parameters = [weight for group in optimizer.param_groups for weight in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.max_gradient_norm)
        require_finite(norm, self.global_step, "episodic training, in the length of the gradient")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Set up AdamW on the weights that learn, and its schedule."""
        weights = [weight for weight in self.network.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(weights, self.config.learning_rate, weight_decay=self.config.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.config.learning_rate_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def compute_loss(prediction: Prediction, truth: Tensor) -> Tensor:
    """Give the cross-entropy of the logits and of what is supervised beside them; `IGNORED` pixels do not count.

    Args:
        prediction: What the network answered.
        truth: 1 on the object, 0 elsewhere, `IGNORED` where unknown; shape `(batch, height, width)`.
    """
    loss = functional.cross_entropy(prediction.logits, truth, ignore_index=IGNORED)
    for weight, logits in zip(prediction.auxiliary_weights, prediction.auxiliary, strict=True):
        loss = loss + weight * functional.cross_entropy(logits, truth, ignore_index=IGNORED)
    return loss


def train_episodically(
    network: CMNet,
    store: FeatureStore,
    class_ids: tuple[int, ...],
    config: TrainingConfig,
    *,
    seed: int,
    description: str,
) -> tuple[float, ...]:
    """Train a network in place and leave it in eval mode.

    Two networks trained with the same seed see the same episodes in the same order.

    Args:
        network: What learns.
        store: Features of the training images by the network's own backbone.
        class_ids: Classes that episodes are drawn from.
        config: The schedule.
        seed: Decides the episodes and what dropout drops.
        description: Name of the progress bar.

    Returns:
        The loss of every step.

    Raises:
        NonFiniteLossError: A loss or gradient became NaN or infinite.
        ValueError: Some class has too few images.
    """
    sampler = EpisodeSampler(store.data.labels, class_ids, shot=config.shot, seed=seed)
    batches = EpisodeBatches(store, sampler, steps=config.steps, batch_size=config.batch_size)
    stage = EpisodicStage(network, config)
    run_stage(stage, batches, seed=seed, description=description)
    network.eval()
    return tuple(stage.losses)
