"""Everything that a run depends on, in one object."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fewshot.data.augmentation import Augmentation
from fewshot.data.dataset import DataSet
from fewshot.data.pools import Convention, DrawRule, check_convention
from fewshot.evaluation.description import to_plain
from fewshot.evaluation.protocol import EvaluationConfig
from fewshot.hardware import Hardware
from fewshot.model.config import CMNetConfig
from fewshot.pretraining.config import PretrainingConfig
from fewshot.training.config import TrainingConfig


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
