"""What a network learns from a batch of episodes, and by which optimiser."""

from pathlib import Path

import torch
from torch import Tensor

from fewshot.episode import Episode
from fewshot.model.cmnet import CMNet
from fewshot.model.encoded import EncodedEpisode
from fewshot.model.prediction import Prediction
from fewshot.training.batches import BatchSource
from fewshot.training.config import TrainingConfig
from fewshot.training.losses import dice_loss, map_loss, segmentation_loss
from fewshot.training.stages import Outcome, Plan, Stage, seed_step


class EpisodicStage(Stage):
    """A network that learns from episodes; its backbone stays as it is."""

    def __init__(
        self,
        network: CMNet,
        config: TrainingConfig,
        plan: Plan,
        source: BatchSource,
        *,
        workers: int = 0,
        folder: Path | None = None,
        portions: int = 1,
    ) -> None:
        """Wrap a network.

        Raises:
            ValueError: The transport map is to be supervised where there is none, or where no gradient goes through it,
                or statistics of a batch are to be taken that goes through the network in portions.
        """
        super().__init__(plan, source, workers=workers, folder=folder, portions=portions)
        if portions > 1 and network.config.backbone_bn == "train":
            raise ValueError(
                f"`micro_batch_size` must be None where the backbone's statistics are those of the batch. Found "
                f"{portions} portions and `backbone_bn = 'train'`. Set `backbone_bn` to 'eval', or lower `batch_size`."
            )
        self.network = network
        self.config = config
        if config.map_weight:
            _require_learning_map(network)

    def on_train_start(self) -> None:
        """Set everything to training mode but the backbone, which `CMNet.train` leaves in eval mode."""
        self.network.train()

    def on_train_batch_start(self, batch: object, batch_idx: int) -> None:
        """Let all processes make the same passes of mask refinement, which are a matter of the whole batch."""
        super().on_train_batch_start(batch, batch_idx)
        self.network.refinement.draws.manual_seed(seed_step(self.plan.seed, self.global_step))

    def learn_from(self, batch: Episode | EncodedEpisode) -> Outcome:
        """Give the loss of a batch of episodes, from pixels or from features."""
        encoded = self.network.encode(batch) if isinstance(batch, Episode) else batch
        truth = encoded.query_mask
        if truth is None:
            raise ValueError(
                "Episodes to learn from must have a `query_mask`. Found None. Draw them from labelled images."
            )
        prediction = self.network.segment(encoded)
        parts = {"cross-entropy": segmentation_loss(prediction, truth, average=self.average)}
        if self.config.dice_weight:
            parts["dice"] = self.config.dice_weight * dice_loss(prediction.logits, truth)
        if self.config.map_weight and prediction.transport_map is not None:
            loss = map_loss(prediction.transport_map, truth, average=self.average)
            parts["transport map"] = self.config.map_weight * loss
        return Outcome(parts, _diagnose(prediction))

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Set up the optimiser on the weights that learn."""
        config = self.config
        weights = [weight for weight in self.network.parameters() if weight.requires_grad]
        groups = [{"params": weights, "name": "network"}]
        rate = config.learning_rate * config.lr_multiplier
        if config.optimizer == "adamw":
            return torch.optim.AdamW(groups, rate, betas=(config.momentum, 0.999), weight_decay=config.weight_decay)
        return torch.optim.SGD(groups, rate, momentum=config.momentum, weight_decay=config.weight_decay)


def _diagnose(prediction: Prediction) -> dict[str, Tensor]:
    """Say how the plans look; their means over equal shares of a batch are those of the whole batch."""
    seen = {"fg_flow_fraction": prediction.fg_flow_fraction, "flow_entropy": prediction.flow_entropy}
    return {name: value.mean() for name, value in seen.items() if value is not None}


def _require_learning_map(network: CMNet) -> None:
    config = network.config
    learns = (
        config.transport != "none" and not config.matching.detach and config.matching.features in ("post", "reduced")
    )
    if not learns:
        raise ValueError(
            f"`map_weight` must be 0 where no gradient goes through the transport map. Found transport "
            f"{config.transport!r} on {config.matching.features!r} features with detach = {config.matching.detach}. "
            f"Set `map_weight` to 0, or compare features that are learnt."
        )
