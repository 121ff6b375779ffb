"""One step of either training stage: seeded by its number, shared by any number of processes, checked to be finite."""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, distributed
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from fewshot.data.storage import save_tensors
from fewshot.training.batches import BatchSource, StepNumbers, load_batches
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


def seed_step(seed: int, step: int, *, rank: int | None = None) -> int:
    """Give the seed of what is random in a step: in one process, such as dropout, or without a rank in all alike."""
    # The last number keeps it apart from the streams of episodes and augmentation, which are named by fewer numbers.
    # NumPy takes missing numbers for zeros, so no rank must not be the first rank.
    numbers = (seed, step, 0 if rank is None else rank + 1, _STREAM)
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


class Stage(lightning.LightningModule, ABC):
    """A training stage: a subclass says what is learnt from a batch, and by which optimiser.

    Step s is a pure function of the weights and optimiser before it, the seed, s and the process's rank.
    """

    def __init__(self, plan: Plan, source: BatchSource, *, workers: int = 0, folder: Path | None = None) -> None:
        """Plan the stage.

        Args:
            plan: How it goes on.
            source: What it learns from.
            workers: Processes that put batches together.
            folder: Where a batch goes whose loss is no number; None for nowhere.
        """
        super().__init__()
        self.plan, self.source, self.workers, self.folder = plan, source, workers, folder
        self.losses: list[float] = []
        self._current: tuple[object, dict[str, float]] | None = None

    @cached_property
    def description(self) -> str:
        """Everything that the result depends on, as JSON: what a checkpoint is compared with."""
        return describe_stage(self.plan, self.source)

    @abstractmethod
    def learn_from(self, batch: Any) -> Outcome:
        """Give the loss of a batch, in parts whose means over the processes are those of the whole batch."""

    @abstractmethod
    def make_optimizer(self) -> torch.optim.Optimizer:
        """Set up the optimiser, each group with the name that its learning rate is logged under."""

    def average(self, value: Tensor) -> Tensor:
        """Give the mean of a number over all processes."""
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
        return load_batches(self.source, numbers, workers=self.workers)

    def on_train_batch_start(self, batch: object, batch_idx: int) -> None:
        """Make whatever is random in this step follow from its number."""
        torch.manual_seed(seed_step(self.plan.seed, self.global_step, rank=self.global_rank))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Give the loss of a batch, and note it."""
        outcome = self.learn_from(batch)
        loss = torch.stack([part.float() for part in outcome.parts.values()]).sum()
        shown = {"loss": loss, **outcome.parts, **outcome.diagnostics}
        values = self.average(torch.stack([value.detach().float() for value in shown.values()])).tolist()
        noted = dict(zip(shown, values, strict=True))
        self._current = (batch, noted)
        # What the processes agree on: all of them stop, or none.
        self._require_finite(noted["loss"], "")
        self.losses.append(noted["loss"])
        self.log("loss", noted.pop("loss"), prog_bar=True, batch_size=1)
        self.log_dict(noted, batch_size=1)
        return loss

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


def compare_settings(expected: object, found: object, name: str = "") -> Iterator[str]:
    """List the settings in which two nested dictionaries differ, such as `recipe.training.shot`."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted({*expected, *found}):
            yield from compare_settings(expected.get(key), found.get(key), f"{name}.{key}".lstrip("."))
    elif expected != found:
        yield name


def name_tensors(value: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """List the tensors inside a batch of dataclasses and tuples, by the names of fields and places."""
    if isinstance(value, Tensor):
        yield name, value.detach().cpu().contiguous()
    elif is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            yield from name_tensors(getattr(value, one.name), f"{name}.{one.name}".lstrip("."))
    elif isinstance(value, tuple):
        for place, part in enumerate(value):
            yield from name_tensors(part, f"{name}.{place}".lstrip("."))
