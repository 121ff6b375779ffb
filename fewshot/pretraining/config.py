"""How the supervised stage trains a backbone, in one object."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from fewshot.data.augmentation import Augmentation
from fewshot.data.pools import Convention, check_convention
from fewshot.model.heads import HeadName
from fewshot.options import require_choice, require_not_negative, require_positive
from fewshot.training.schedules import count_steps, require_length

BatchNorm = Literal["train", "frozen"]
EPOCHS = 100
"""The length of RePRI's and BAM's first stage on PASCAL-5i, the paper being silent."""


def _default_augmentation() -> Augmentation:
    # No share of the objects needs to stay in sight, unlike in episodes, which are about one of them.
    return Augmentation(
        size=417,
        scale=(0.5, 2.0),
        rotation=0.0,
        rotation_probability=0.0,
        blur_probability=0.0,
        keep_share=0.0,
    )


@dataclass(frozen=True)
class PretrainingConfig:
    """How the supervised stage trains a backbone; the paper says only what on. The defaults are RePRI's and BAM's.

    Attributes:
        epochs: Length in rounds of the images, `images // batch_size` updates each (20 suit COCO-20i). None: 100,
            unless `steps` are given.
        steps: Length in weight updates, in place of `epochs`.
        batch_size: Images in an update, over all processes.
        learning_rate: Of the backbone, at the start.
        head_learning_rate: Of the classifier, at the start: it begins from nothing.
        momentum: Of SGD.
        weight_decay: Of SGD.
        power: Exponent of the fall of both rates to zero, step by step.
        head: The classifier, which is thrown away: `ppm` (PSPNet's), trained at the pixels, or `linear`, trained at
            twice the resolution of the nodes, which is enough to place borders and costs little.
        batch_norm: Whether the backbone's batch normalisation learns (`train`, statistics of the batch, which must be
            large enough for that) or keeps statistics and scales that it came with (`frozen`, for small batches and
            weights from ImageNet).
        augmentation: What is drawn for each image.
        convention: What becomes of images with held-out objects. `exclude`, as in the paper: one pixel of them, and
            the image is left out. `keep` (BAM) shows them as background, `ignore` (RePRI) leaves their pixels out of
            the loss; the backbone sees held-out objects in both.
        checkpoint_every: Steps between two states to resume from.
        check_images: Images of the test part on which the backbone is scored at the end, on held-in classes only; None
            for all, 0 for none.
    """

    epochs: int | None = None
    steps: int | None = None
    batch_size: int = 12
    learning_rate: float = 0.0025
    head_learning_rate: float = 0.025
    momentum: float = 0.9
    weight_decay: float = 1e-4
    power: float = 0.9
    head: HeadName = "ppm"
    batch_norm: BatchNorm = "train"
    augmentation: Augmentation = field(default_factory=_default_augmentation)
    convention: Convention = "exclude"
    checkpoint_every: int = 500
    check_images: int | None = None

    def __post_init__(self) -> None:
        """Refuse values that train nothing."""
        require_length(self.epochs, self.steps)
        for name in ("batch_size", "learning_rate", "head_learning_rate", "checkpoint_every"):
            require_positive(name, getattr(self, name))
        for name in ("momentum", "weight_decay", "power", "check_images"):
            if getattr(self, name) is not None:
                require_not_negative(name, getattr(self, name))
        if self.head == "ppm" and self.batch_size < 2:
            raise ValueError(
                f"`batch_size` must be at least 2 for the head 'ppm', whose averages over whole images are normalised "
                f"over the batch. Found `batch_size = {self.batch_size}`. Pass more, or take the linear head."
            )
        require_choice("head", self.head, get_args(HeadName))
        require_choice("batch_norm", self.batch_norm, get_args(BatchNorm))
        check_convention(self.convention)

    def count_steps(self, images: int) -> int:
        """Give the number of weight updates on so many images.

        Raises:
            ValueError: An epoch holds no whole batch.
        """
        return count_steps(self.epochs, self.steps, default=EPOCHS, images=images, batch_size=self.batch_size)
