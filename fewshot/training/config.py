"""How a network learns from episodes, in one object."""

from dataclasses import dataclass
from typing import Literal, get_args

from fewshot.data.pools import EpisodePool
from fewshot.data.sampling import EpisodeSampler, Order
from fewshot.options import require_choice, require_not_negative, require_positive
from fewshot.training.schedules import count_steps, require_length

OptimizerName = Literal["sgd", "adamw"]
Selection = Literal["last", "base_val", "test"]
"""Which weights a training leaves in the network.

`last`: those of the last step. `base_val`: those with the best score on held-in classes of the images to test on.
`test`: those with the best score on the held-out classes themselves, which is what published numbers mean (PFENet,
HSNet and every other anchor); a look at what is tested.
"""


EPOCHS = 200
"""The paper's length on PASCAL-5i."""


@dataclass(frozen=True)
class TrainingConfig:
    """How a network learns from episodes; the defaults are the paper's for PASCAL-5i.

    Attributes:
        epochs: Length in rounds of the pool's images, `images // batch_size` updates each (paper: 200 for PASCAL-5i,
            50 for COCO-20i, 100 for FSS-1000). None: 200, unless `steps` are given.
        steps: Length in weight updates, in place of `epochs`.
        batch_size: Episodes in an update, over all processes.
        micro_batch_size: Episodes that go through the network at once, in each process; their gradients are added up
            to those of the whole batch. None: as many as a process has of the batch.
        optimizer: Stochastic gradient descent, or AdamW.
        learning_rate: At the start, or after the warm-up.
        lr_multiplier: A factor on it. PFENet's code trains all groups with ten times the rate of its configuration
            (issue 17 there); 10 does that in sight, 1 means what `learning_rate` says.
        momentum: Of SGD; of AdamW the first of its two decays.
        weight_decay: Added to the gradient by SGD, taken from the weights by AdamW (whose usual value is 0.01).
        power: Exponent of the fall of the learning rate to zero, step by step.
        warmup: Steps in which the learning rate rises; gentle starts leave the all-background plateau sooner.
        max_gradient_norm: Longer gradients are shortened to this; None leaves them.
        shot: Support images in an episode.
        order: How the queries follow each other.
        dice_weight: Of a Dice loss beside the cross-entropy, as CyCTR has; 0 is without, as the paper.
        map_weight: Of the squared distance of the transport map to the truth; 0 is without, as the paper.
        checkpoint_every: Steps between two states to resume from.
        keep_every: Steps between two files of weights that stay; None keeps the last and the best.
        select: Which weights the network is left with.
        validate_every: Steps between two scores, where `select` asks for scores.
    """

    epochs: int | None = None
    steps: int | None = None
    batch_size: int = 4
    micro_batch_size: int | None = None
    optimizer: OptimizerName = "sgd"
    learning_rate: float = 0.0025
    lr_multiplier: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 1e-4
    power: float = 0.9
    warmup: int = 0
    max_gradient_norm: float | None = None
    shot: int = 1
    order: Order = "shuffle"
    dice_weight: float = 0.0
    map_weight: float = 0.0
    checkpoint_every: int = 500
    keep_every: int | None = None
    select: Selection = "last"
    validate_every: int = 2000

    def __post_init__(self) -> None:
        """Refuse values that train nothing."""
        require_length(self.epochs, self.steps)
        for name in ("batch_size", "learning_rate", "lr_multiplier", "shot", "checkpoint_every", "validate_every"):
            require_positive(name, getattr(self, name))
        for name in ("max_gradient_norm", "keep_every", "micro_batch_size"):
            if getattr(self, name) is not None:
                require_positive(name, getattr(self, name))
        for name in ("momentum", "weight_decay", "power", "warmup", "dice_weight", "map_weight"):
            require_not_negative(name, getattr(self, name))
        for name, choices in (("optimizer", OptimizerName), ("order", Order), ("select", Selection)):
            require_choice(name, getattr(self, name), get_args(choices))

    def count_steps(self, pool: EpisodePool) -> int:
        """Give the number of weight updates on episodes of a pool.

        Raises:
            ValueError: An epoch holds no whole batch.
        """
        return count_steps(
            self.epochs, self.steps, default=EPOCHS, images=len(pool.entries), batch_size=self.batch_size
        )

    def count_portions(self, processes: int) -> int:
        """Say in how many portions each of some processes learns its share of a batch.

        Raises:
            ValueError: The portions would not be equal.
        """
        share = self.batch_size // processes
        size = self.micro_batch_size or share
        if share % size:
            raise ValueError(
                f"`micro_batch_size` must divide what a process has of a batch. Found `micro_batch_size = {size}` for "
                f"{share} episodes, `batch_size = {self.batch_size}` over {processes} processes. Change one of them."
            )
        return share // size

    def make_sampler(self, pool: EpisodePool, *, seed: int) -> EpisodeSampler:
        """Draw from a pool the episodes that this training is made of.

        Raises:
            ValueError: Some class has too few images.
        """
        return EpisodeSampler(pool, shot=self.shot, seed=seed, order=self.order)
