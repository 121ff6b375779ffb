"""What a backbone learns in the supervised stage, and how well it tells the held-in classes apart in the end."""

from collections.abc import Sequence
from pathlib import Path

import lightning
import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from fewshot.data.fitting import Fit, FittedImage, fit_image, restore_logits
from fewshot.data.index import IndexEntry
from fewshot.data.labels import UNKNOWN, LabelledImage
from fewshot.data.transforms import normalise_padded
from fewshot.evaluation.metrics import sum_over_ranks
from fewshot.model.backbone import Backbone
from fewshot.model.heads import build_head
from fewshot.pretraining.config import PretrainingConfig
from fewshot.pretraining.supervision import LabelledBatch, SupervisedBatches, Supervision
from fewshot.training.losses import cross_entropy
from fewshot.training.stages import Outcome, Plan, Stage


class SupervisedStage(Stage):
    """A backbone under a classifier of nodes."""

    def __init__(
        self,
        backbone: Backbone,
        source: SupervisedBatches,
        config: PretrainingConfig,
        plan: Plan,
        *,
        workers: int = 0,
        folder: Path | None = None,
    ) -> None:
        """Put a fresh classifier on the backbone; its weights follow from the plan's seed."""
        super().__init__(plan, source, workers=workers, folder=folder)
        self.supervision = source.supervision
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(plan.seed)
            self.head = build_head(config.head, backbone.high_channels, self.supervision.class_count)
        self.backbone = backbone.requires_grad_(True)
        self.config = config
        if config.batch_norm == "frozen":
            for layer in list_batch_norms(backbone):
                layer.requires_grad_(False)

    def train(self, mode: bool = True) -> "SupervisedStage":
        """Set the training mode of everything but frozen statistics."""
        super().train(mode)
        if self.config.batch_norm == "frozen":
            for layer in list_batch_norms(self.backbone):
                layer.eval()
        return self

    def on_train_start(self) -> None:
        """Begin in training mode."""
        self.train()

    def classify(self, images: Tensor) -> Tensor:
        """Give the logits of every node."""
        return self.head(self.backbone(images).high)

    def learn_from(self, batch: LabelledBatch) -> Outcome:
        """Give the cross-entropy of a batch, at the resolution that the configuration's head asks for."""
        logits, labels = self.classify(batch.images), batch.labels
        size = (labels.shape[-2], labels.shape[-1])
        if self.config.head == "linear":
            size = (2 * logits.shape[-2], 2 * logits.shape[-1])
            labels = functional.interpolate(labels[:, None].float(), size, mode="nearest-exact")[:, 0].long()
        logits = functional.interpolate(logits.float(), size, mode="bilinear", align_corners=False)
        return Outcome({"cross-entropy": cross_entropy(logits, labels, ignored=UNKNOWN, average=self.average)})

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Set up SGD with a rate for the backbone and one for the classifier."""
        config = self.config
        learning = [weight for weight in self.backbone.parameters() if weight.requires_grad]
        groups = [
            {"params": learning, "lr": config.learning_rate, "name": "backbone"},
            {"params": list(self.head.parameters()), "lr": config.head_learning_rate, "name": "head"},
        ]
        return torch.optim.SGD(groups, momentum=config.momentum, weight_decay=config.weight_decay)


def list_batch_norms(module: nn.Module) -> list[nn.Module]:
    """List the layers that normalise by statistics of a batch."""
    return [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d | nn.SyncBatchNorm)]


class _WholeImages(Dataset[tuple[FittedImage, Int[Tensor, "height width"]]]):
    """Images of the test part on a canvas, with the places of their labels."""

    def __init__(self, supervision: Supervision, entries: Sequence[IndexEntry], fit: Fit) -> None:
        self.supervision, self.entries, self.fit = supervision, entries, fit

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, number: int) -> tuple[FittedImage, Tensor]:
        picture: LabelledImage = self.supervision.dataset.read(self.entries[number])
        return fit_image(picture.image, None, self.fit), self.supervision.place_labels(picture.labels)


class FinalCheck(lightning.Callback):
    """Scores what was learnt on images of the test part, on the held-in classes only, when training is over.

    Pixels of held-out classes do not count: the classifier has no name for them. BAM's first stage reaches 69 to 74 on
    PASCAL-5i with a ResNet-50 (issue 17 there), which is what ours is to be compared with.

    Attributes:
        iou: Of background and each held-in class in turn, in per cent; None for a class that is nowhere to be seen.
            Empty before the end, and without images.
    """

    def __init__(self, stage: SupervisedStage, *, images: int | None, workers: int) -> None:
        """Say what is scored, on how many images (None for all) and how many processes read them."""
        super().__init__()
        self.stage, self.images, self.workers = stage, images, workers
        self.iou: list[float | None] = []

    def on_train_end(self, trainer: lightning.Trainer, *_: object) -> None:
        """Score; the processes share the images."""
        supervision = self.stage.supervision
        held_in = set(supervision.fold.held_in)
        entries = [entry for entry in supervision.index.val.entries if not held_in.isdisjoint(entry.pixels)]
        entries = entries[: self.images]
        if not entries:
            return
        counts = self._count(entries[trainer.global_rank :: trainer.world_size])
        counts = sum_over_ranks(counts, self.stage.device)
        union = counts.sum(0) + counts.sum(1) - counts.diag()
        self.iou = [
            100.0 * both / either if either else None
            for both, either in zip(counts.diag().tolist(), union.tolist(), strict=True)
        ]

    @torch.no_grad()
    def _count(self, entries: Sequence[IndexEntry]) -> Int[Tensor, "classes classes"]:
        """Count the pixels of each class (row) that were taken for each class (column)."""
        stage, supervision = self.stage, self.stage.supervision
        classes = supervision.class_count
        counts = torch.zeros(classes * classes, dtype=torch.int64)
        images = _WholeImages(supervision, entries, Fit(stage.config.augmentation.size))
        stage.eval()
        loader = DataLoader(images, batch_size=None, num_workers=self.workers, collate_fn=_leave)
        for image, labels in tqdm(loader, desc="Check on held-in classes", unit="image"):
            pixels = normalise_padded(image.pixels[None], image.valid[None]).to(stage.device)
            canvas = image.placement.canvas_size
            logits = functional.interpolate(stage.classify(pixels), canvas, mode="bilinear", align_corners=False)
            found = restore_logits(logits[0], image.placement, image.placement.original_size).argmax(0).cpu()
            known = labels != UNKNOWN
            counts += torch.bincount(classes * labels[known] + found[known], minlength=classes * classes)
        stage.train()
        return counts.view(classes, classes)


def _leave(item: object) -> object:
    """Keep a loader from taking an item apart."""
    return item
