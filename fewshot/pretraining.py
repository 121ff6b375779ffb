"""The supervised stage: the backbone learns to tell the base classes apart before it is frozen.

Its images show no novel class at all. The classifier is thrown away afterwards; the backbone is kept in a cache under
the name of everything it depends on, so that an interrupted or repeated run does not train it twice.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import lightning
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional

from fewshot.data.storage import load_cached, save_tensors
from fewshot.data.synthetic import LabelledImages
from fewshot.data.transforms import normalise_images
from fewshot.episode import IGNORED
from fewshot.loops import require_finite, require_positive, run_stage
from fewshot.model.backbone import Backbone, BackboneName, build_backbone


@dataclass(frozen=True)
class PretrainingConfig:
    """How the backbone is trained: SGD with a learning rate that falls polynomially to zero.

    Attributes:
        steps: Weight updates.
        batch_size: Images in an update.
        learning_rate: At the start.
        momentum: Of SGD.
        weight_decay: Of SGD.
        power: Exponent of the fall.
    """

    steps: int = 1200
    batch_size: int = 12
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-4
    power: float = 0.9

    def __post_init__(self) -> None:
        """Refuse values that train nothing."""
        require_positive("steps", self.steps)
        require_positive("batch_size", self.batch_size)
        require_positive("learning_rate", self.learning_rate)


class SupervisedBatches:
    """Batches of images and labels in a shuffled order that depends on the seed only; half of the images mirrored."""

    def __init__(self, data: LabelledImages, *, steps: int, batch_size: int, seed: int) -> None:
        """Plan `steps` batches of `batch_size` images."""
        self.data = data
        self.steps = steps
        self.batch_size = batch_size
        self.seed = seed

    def __len__(self) -> int:
        """Count the batches."""
        return self.steps

    def __iter__(self) -> Iterator[tuple[Float[Tensor, "batch 3 height width"], UInt8[Tensor, "batch height width"]]]:
        """Go through the batches; every iteration gives the same ones."""
        rng = np.random.default_rng((self.seed, 0))
        order = np.empty(0, np.int64)
        for _ in range(self.steps):
            while len(order) < self.batch_size:
                order = np.concatenate([order, rng.permutation(len(self.data.labels))])
            chosen, order = torch.from_numpy(order[: self.batch_size]), order[self.batch_size :]
            mirrored = torch.from_numpy(rng.random(self.batch_size) < 0.5)
            images, labels = self.data.images[chosen], self.data.labels[chosen]
            images[mirrored], labels[mirrored] = images[mirrored].flip(-1), labels[mirrored].flip(-1)
            yield normalise_images(images), labels


class SupervisedStage(lightning.LightningModule):
    """A backbone under a linear classifier of nodes; background is class 0 of the classifier."""

    def __init__(self, backbone: Backbone, class_ids: tuple[int, ...], config: PretrainingConfig) -> None:
        """Put a fresh classifier on the backbone."""
        super().__init__()
        self.backbone = backbone
        self.classify = nn.Conv2d(backbone.high_channels, len(class_ids) + 1, 1)
        self.config = config
        self.losses: list[float] = []
        # Labels that are none of the classes never occur: the images of this stage show base classes only.
        target_of = torch.full((IGNORED + 1,), IGNORED)
        target_of[0] = 0
        target_of[torch.tensor(class_ids)] = torch.arange(1, len(class_ids) + 1)
        self.register_buffer("target_of", target_of, persistent=False)
        self.target_of: Int[Tensor, " 256"]

    def training_step(self, batch: tuple[Tensor, Tensor], step: int) -> Tensor:
        """Give the loss of a batch."""
        images, labels = batch
        logits = self.classify(self.backbone(images).high)
        # Twice the node grid is enough to place borders and costs a quarter of the full size.
        size = (2 * logits.shape[-2], 2 * logits.shape[-1])
        logits = functional.interpolate(logits, size, mode="bilinear", align_corners=False)
        loss = functional.cross_entropy(logits, self._targets(labels, size), ignore_index=IGNORED)
        require_finite(loss, step, f"the supervised stage with `learning_rate = {self.config.learning_rate}`")
        self.losses.append(loss.item())
        self.log("loss", loss, prog_bar=True, batch_size=len(labels))
        return loss

    def _targets(self, labels: Tensor, size: tuple[int, int]) -> Tensor:
        sampled = functional.interpolate(labels[:, None].float(), size, mode="nearest-exact")[:, 0]
        return self.target_of[sampled.long()]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Set up SGD and its polynomial fall."""
        config = self.config
        optimizer = torch.optim.SGD(
            self.parameters(), config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
        )
        schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, config.steps, config.power)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


@dataclass(frozen=True)
class PretrainedBackbone:
    """What the supervised stage left.

    Attributes:
        weights: State dict of the backbone.
        losses: Loss of every step; empty when the weights came from the cache.
        reused: Whether they came from the cache.
    """

    weights: dict[str, Tensor]
    losses: tuple[float, ...]
    reused: bool


def pretrain_backbone(
    name: BackboneName, data: LabelledImages, config: PretrainingConfig, *, seed: int, cache: Path
) -> PretrainedBackbone:
    """Train a backbone on labelled images, or read the result of the same training from the cache.

    Args:
        name: Which backbone.
        data: Images in which every label is background, unknown, or one of `data.class_ids`.
        config: The schedule.
        seed: Decides initial weights and order of the images.
        cache: Folder for the result.

    Returns:
        The weights and how the training went.

    Raises:
        NonFiniteLossError: The loss became NaN or infinite.
    """
    path = cache / f"backbone-{_key(name, data, config, seed)}.safetensors"
    weights = load_cached(path)
    if weights is not None:
        return PretrainedBackbone(weights, (), reused=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        stage = SupervisedStage(build_backbone(name), data.class_ids, config)
    batches = SupervisedBatches(data, steps=config.steps, batch_size=config.batch_size, seed=seed)
    run_stage(stage, batches, seed=seed, description="Supervised stage")
    weights = {name: value.detach().clone() for name, value in stage.backbone.state_dict().items()}
    save_tensors(path, weights)
    return PretrainedBackbone(weights, tuple(stage.losses), reused=False)


def _key(name: BackboneName, data: LabelledImages, config: PretrainingConfig, seed: int) -> str:
    """Name everything that the weights depend on."""
    digest = hashlib.sha256(data.images.numpy().tobytes())
    digest.update(data.labels.numpy().tobytes())
    shapes = {key: list(value.shape) for key, value in build_backbone(name).state_dict().items()}
    recipe = {"backbone": name, "config": asdict(config), "seed": seed, "shapes": shapes, "torch": torch.__version__}
    digest.update(json.dumps(recipe, sort_keys=True).encode())
    return digest.hexdigest()[:16]
