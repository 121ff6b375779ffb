"""What both training stages ask of Lightning, and how they stop when a loss is no number."""

import logging
import warnings
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import lightning
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from torch import Tensor

# Lightning announces hardware and tips at level INFO on every run; they say nothing about this one.
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)


class NonFiniteLossError(ArithmeticError):
    """A loss or gradient became NaN or infinite."""


@runtime_checkable
class Batches(Protocol):
    """What a stage is trained on: batches in order, their number known."""

    def __len__(self) -> int:
        """Count the batches."""
        ...

    def __iter__(self) -> Iterator[object]:
        """Go through the batches."""
        ...


class NamedProgressBar(TQDMProgressBar):
    """Lightning's bar under the name of the stage, in place of a count of epochs: each stage is one pass."""

    def __init__(self, description: str) -> None:
        """Name the bar."""
        super().__init__(refresh_rate=10)
        self.description = description

    @property
    def train_description(self) -> str:
        """Give the bar's name from its first moment on."""
        return self.description

    def on_train_epoch_start(self, trainer: lightning.Trainer, *_: object) -> None:
        """Start the bar."""
        self.train_progress_bar.reset(int(self.total_train_batches))
        self.train_progress_bar.initial = 0
        self.train_progress_bar.set_description(self.description)


def run_stage(stage: lightning.LightningModule, batches: Batches, *, seed: int, description: str) -> None:
    """Train a stage on every batch once, on the CPU, keeping nothing on disk: its caller does.

    Args:
        stage: What is trained, in place.
        batches: The batches. No `DataLoader`: the data lie in memory, and a worker process would only copy them.
        seed: Decides whatever is random in the stage, such as dropout; the generator outside is left as it was.
        description: Name of the progress bar.
    """
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=[NamedProgressBar(description)],
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # Lightning 2.6 makes tree leaves in a way that torch 2.13 has deprecated; ours has no say in it.
        warnings.filterwarnings("ignore", r".*LeafSpec.*is deprecated", FutureWarning)
        torch.manual_seed(seed)
        trainer.fit(stage, batches)


def require_finite(loss: Tensor, step: int, what: str) -> None:
    """Stop before a loss that is no number reaches the weights.

    Args:
        loss: The loss of a step, a scalar.
        step: Its number.
        what: What was being trained on, for the message.

    Raises:
        NonFiniteLossError: The loss is NaN or infinite.
    """
    if not torch.isfinite(loss):
        raise NonFiniteLossError(
            f"The loss must stay finite. Found {loss.item()} at step {step} of {what}. Lower the learning rate, or "
            f"look at the inputs of that step: the weights are those of the step before."
        )


def require_positive(name: str, value: int | float) -> None:
    """Refuse a setting that must be above zero.

    Raises:
        ValueError: It is not.
    """
    if not value > 0:
        raise ValueError(f"`{name}` must be positive. Found `{name} = {value}`. Pass a number above 0.")
