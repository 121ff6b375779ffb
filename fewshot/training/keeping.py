"""What a training leaves on disk: a state to resume from, the weights of users, and the best weights so far."""

import io
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor, nn

from fewshot.data.storage import write_whole
from fewshot.processes import require_shared_folder

RESUME = "resume.ckpt"
"""Name of the state to resume from, in the folder of a run."""


class WholeFiles(TorchCheckpointIO):
    """Lightning's checkpoints in files that appear under their name only when they are complete.

    Lightning's own writer moves a file from the system's folder for temporary files, which may be another disk, where
    a move is a copy that can be interrupted.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            TypeError: `storage_options` are given, of which plain files have none.
        """
        if storage_options is not None:
            raise TypeError(
                f"`storage_options` must be None for a checkpoint in a plain file. Found {storage_options!r}. Leave it "
                f"out."
            )
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_whole(Path(path), buffer.getvalue())


class _AfterSteps(lightning.Callback, ABC):
    """Does something after each step, when all of its portions are through."""

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Tell a portion from a step."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self.after_step(trainer, trainer.global_step)

    @abstractmethod
    def after_step(self, trainer: lightning.Trainer, step: int) -> None:
        """Do it, given how many steps have been made."""


class Saver(_AfterSteps):
    """Writes Lightning's checkpoint and the weights of users every so many steps and at the end."""

    def __init__(
        self,
        folder: Path,
        save: Callable[[Path], None] | None,
        *,
        steps: int,
        every: int,
        keep_every: int | None,
        fresh: bool,
    ) -> None:
        """Say what is written when.

        Args:
            folder: Where to.
            save: Writes the weights as users load them; None where somebody else does.
            steps: The last step.
            every: Steps between two checkpoints, each of which replaces the one before.
            keep_every: Steps between two files of weights that stay; None for none.
            fresh: Whether the training starts anew, so that a checkpoint that is there is of no use.
        """
        super().__init__()
        self.folder, self.save, self.steps = folder, save, steps
        self.every, self.keep_every, self.fresh = every, keep_every, fresh

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Remove what killed trainings left half-written, and a checkpoint that must not be resumed from.

        Raises:
            ValueError: The processes do not share the folder: one would resume, and others begin.
        """
        require_shared_folder(self.folder)
        if trainer.is_global_zero:
            for left in self.folder.glob("*.part"):
                left.unlink()
            if self.fresh:
                (self.folder / RESUME).unlink(missing_ok=True)

    def after_step(self, trainer: lightning.Trainer, step: int) -> None:
        """Write what is due at this step."""
        if trainer.is_global_zero and self.save is not None:
            if self.keep_every is not None and step % self.keep_every == 0:
                self.save(self.folder / f"step-{step:07d}.safetensors")
            if step == self.steps:
                self.save(self.folder / "last.safetensors")
        if step % self.every == 0 or step == self.steps:
            # Every process: they meet in it.
            trainer.save_checkpoint(self.folder / RESUME)


class Selector(_AfterSteps):
    """Scores the network every so many steps and at the end, and remembers the weights of the best score.

    Attributes:
        scores: Score by step.
        weights: The best ones so far, without those that do not learn; None before the first score.
    """

    def __init__(
        self,
        network: nn.Module,
        validate: Callable[[], float],
        *,
        steps: int,
        every: int,
        path: Path | None,
        save: Callable[[Path], None] | None,
    ) -> None:
        """Say what is scored when.

        Args:
            network: What is scored.
            validate: Scores it, higher is better, and alike in every process.
            steps: The last step.
            every: Steps between two scores.
            path: Where the best weights go; None for memory alone.
            save: Writes them as users load them.
        """
        super().__init__()
        self.network, self.validate = network, validate
        self.steps, self.every, self.path, self.save = steps, every, path, save
        self.scores: dict[int, float] = {}
        self.weights: dict[str, Tensor] | None = None

    @property
    def best_step(self) -> int | None:
        """Name the step of the best score, the earliest of several; None before the first score."""
        return max(self.scores, key=self.scores.__getitem__, default=None)

    def after_step(self, trainer: lightning.Trainer, step: int) -> None:
        """Score, if it is time."""
        if step % self.every and step != self.steps:
            return
        self.network.eval()
        with torch.no_grad():
            self.scores[step] = self.validate()
        self.network.train()
        for logger in trainer.loggers:
            logger.log_metrics({"validation score": self.scores[step]}, step=step)
        if self.best_step == step:
            frozen = {name for name, weight in self.network.named_parameters() if not weight.requires_grad}
            state = self.network.state_dict()
            self.weights = {name: value.cpu().clone() for name, value in state.items() if name not in frozen}
            if trainer.is_global_zero and self.path is not None and self.save is not None:
                self.save(self.path)

    def restore_best(self) -> None:
        """Put the best weights back into the network."""
        if self.weights is not None:
            self.network.load_state_dict(self.weights, strict=False)

    def state_dict(self) -> dict[str, Any]:
        """Give what a resumed training needs to go on choosing."""
        return {"scores": self.scores, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it back."""
        self.scores, self.weights = state_dict["scores"], state_dict["weights"]
