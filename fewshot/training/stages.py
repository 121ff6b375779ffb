"""One step of either training stage: seeded by its number, shared by any number of processes, checked to be finite."""

import json
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, distributed
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from fewshot.data.storage import name_tensors, save_tensors
from fewshot.evaluation.description import compare_settings
from fewshot.training.batches import BatchSource, Portion, Portions, StepNumbers, load_batches
from fewshot.training.losses import Count
from fewshot.training.schedules import polynomial_factor

_STATE = "fewshot"
"""Key of what a stage adds to Lightning's checkpoint."""

_STREAM = 1


class NonFiniteLossError(ArithmeticError):
    """A loss or gradient became NaN or infinite."""


@dataclass(frozen=True)
class Plan:
    """How a stage goes on, whatever it learns.

    Attributes:
        name: What the stage is called in messages.
        steps: Weight updates.
        batch_size: Items in an update, over all processes.
        seed: Decides whatever is random.
        power: Exponent of the learning rate's fall.
        warmup: Steps of its rise.
        max_gradient_norm: Longer gradients are shortened to this; None leaves them.
        recipe: Whatever else the result depends on, as JSON can hold it: a stage is not resumed by another recipe.
    """

    name: str
    steps: int
    batch_size: int
    seed: int
    power: float
    warmup: int = 0
    max_gradient_norm: float | None = None
    recipe: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What a batch says about the weights.

    Attributes:
        parts: The loss in parts, weights included: their sum is what is minimised.
        diagnostics: What is worth a look beside it.
    """

    parts: dict[str, Tensor]
    diagnostics: dict[str, Tensor] = field(default_factory=dict)


def describe_stage(plan: Plan, source: BatchSource) -> str:
    """Say everything that the result of a stage depends on, as JSON."""
    settings = {one.name: getattr(plan, one.name) for one in fields(plan)}
    return json.dumps({**settings, "source": source.describe()}, sort_keys=True)


def seed_step(seed: int, step: int, *, rank: int | None = None, portion: int = 0) -> int:
    """Give the seed of what is random in a step: in one process, such as dropout, or without a rank in all alike."""
    # The fourth number keeps it apart from the streams of episodes and augmentation, which are named by fewer numbers.
    # NumPy takes missing numbers for zeros, so no rank must not be the first rank.
    numbers = (seed, step, 0 if rank is None else rank + 1, _STREAM, *([portion] if portion else []))
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


class Stage(lightning.LightningModule, ABC):
    """A training stage: a subclass says what is learnt from a batch, and by which optimiser.

    Step s is a pure function of the weights and optimiser before it, the seed, s and the process's rank.
    """

    def __init__(
        self, plan: Plan, source: BatchSource, *, workers: int = 0, folder: Path | None = None, portions: int = 1
    ) -> None:
        """Plan the stage.

        Args:
            plan: How it goes on.
            source: What it learns from.
            workers: Processes that put batches together.
            folder: Where a batch goes whose loss is no number; None for nowhere.
            portions: Equal parts of the process's share of a batch, which go through the network one after another;
                their gradients are added up.
        """
        super().__init__()
        self.plan, self.source, self.workers, self.folder = plan, source, workers, folder
        self.portions = portions
        self.losses: list[float] = []
        self._truths: tuple[Tensor, ...] = ()
        self._noted: list[dict[str, float]] = []
        self._current: tuple[object, dict[str, float]] | None = None

    @cached_property
    def description(self) -> str:
        """Everything that the result depends on, as JSON: what a checkpoint is compared with."""
        return describe_stage(self.plan, self.source)

    @abstractmethod
    def learn_from(self, batch: Any) -> Outcome:
        """Give the loss of a batch or portion, in parts whose means over all of these are those of the whole batch."""

    @abstractmethod
    def make_optimizer(self) -> torch.optim.Optimizer:
        """Set up the optimiser, each group with the name that its learning rate is logged under."""

    def average(self, count: Count, truth: Tensor) -> Tensor:
        """Give the mean of a count over all portions and processes."""
        if not self._truths:
            return self._average_processes(count(truth))
        counts = torch.stack([count(one) for one in self._truths])
        return self._average_processes(counts.mean().to(truth.device))

    def _average_processes(self, value: Tensor) -> Tensor:
        if not (distributed.is_available() and distributed.is_initialized()):
            return value
        total = value.clone()
        distributed.all_reduce(total)
        return total / distributed.get_world_size()

    def train_dataloader(self) -> Any:
        """Load this process's share of the batches, from the step on that a checkpoint has led to.

        Lightning asks for it after it has restored a checkpoint.
        """
        numbers = StepNumbers(
            first=self.global_step,
            steps=self.plan.steps,
            batch_size=self.plan.batch_size,
            rank=self.global_rank,
            processes=self.trainer.world_size,
        )
        if self.portions == 1:
            return load_batches(self.source, numbers, workers=self.workers)
        return Portions(self.source, numbers, portions=self.portions, workers=self.workers)

    def on_train_batch_start(self, batch: object, batch_idx: int) -> None:
        """Make whatever is random in this step follow from its number, and that of the portion."""
        portion = batch_idx % self.portions
        torch.manual_seed(seed_step(self.plan.seed, self.global_step, rank=self.global_rank, portion=portion))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Give the loss of a batch or portion, and note it."""
        if isinstance(batch, Portion):
            batch, self._truths = batch.content, batch.truths
        outcome = self.learn_from(batch)
        loss = torch.stack([part.float() for part in outcome.parts.values()]).sum()
        shown = {"loss": loss, **outcome.parts, **outcome.diagnostics}
        values = self._average_processes(torch.stack([value.detach().float() for value in shown.values()])).tolist()
        noted = dict(zip(shown, values, strict=True))
        self._current = (batch, noted)
        # What the processes agree on: all of them stop, or none.
        self._require_finite(noted["loss"], "")
        self._noted.append(noted)
        if len(self._noted) == self.portions:
            self._log_step()
        return loss

    def _log_step(self) -> None:
        """Note the loss of a step, the mean over its portions, and whatever else is worth a look."""
        means = {name: fmean(noted[name] for noted in self._noted) for name in self._noted[0]}
        self._noted = []
        self.losses.append(means["loss"])
        self.log("loss", means.pop("loss"), prog_bar=True, batch_size=1)
        self.log_dict(means, batch_size=1)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Stop at a gradient that is no number before it reaches the weights, and shorten long ones."""
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        norm = get_total_norm([weight.grad for weight in weights if weight.grad is not None])
        self._require_finite(norm.item(), ", in the length of the gradient")
        if self.plan.max_gradient_norm is not None:
            clip_grads_with_norm_(weights, self.plan.max_gradient_norm, norm)

    def on_train_batch_end(self, *_: object) -> None:
        """Let go of the batch."""
        self._current = None

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Set up the optimiser and its schedule."""
        plan = self.plan
        optimizer = self.make_optimizer()
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: polynomial_factor(step, steps=plan.steps, power=plan.power, warmup=plan.warmup),
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step", "name": "lr"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the plan, and the losses so far."""
        losses = torch.tensor(self.losses, dtype=torch.float64)
        checkpoint[_STATE] = {"plan": self.description, "losses": losses}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the losses, after making sure that the checkpoint is of this training.

        Raises:
            ValueError: It is of another one.
        """
        state = checkpoint.get(_STATE, {})
        expected, found = json.loads(self.description), json.loads(state.get("plan", "{}"))
        differing = list(compare_settings(expected, found))
        if differing:
            raise ValueError(
                f"A training must be resumed with the settings that it began with. Found another value of "
                f"`{'`, `'.join(differing)}` in the checkpoint of the run's folder. Restore it, choose another folder, "
                f"or start anew by `resume=False`."
            )
        self.losses = state["losses"].tolist()

    def _require_finite(self, value: float, where: str) -> None:
        if math.isfinite(value):
            return
        step = self.global_step
        raise NonFiniteLossError(
            f"The loss must stay finite. Found {value} at step {step} of {self.plan.name}{where}{self._dump(step)}. "
            f"Lower the learning rate, or look at the inputs of that step: the weights are those of the step before."
        )

    def _dump(self, step: int) -> str:
        """Write the batch of this process to a file, and say so."""
        if self.folder is None or self._current is None:
            return ""
        batch, noted = self._current
        path = self.folder / f"nonfinite-step{step}-rank{self.global_rank}.safetensors"
        first = step * self.plan.batch_size
        notes = {"step": str(step), "loss": json.dumps(noted), "plan": self.description}
        notes["items"] = f"{first} to {first + self.plan.batch_size - 1}, over all processes"
        save_tensors(path, dict(name_tensors(batch)), notes=notes)
        return f"; its batch is in {path}"
