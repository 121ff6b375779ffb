"""How a training stage is run on Lightning: once through its steps, resumed where it was interrupted."""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from fewshot.hardware import Hardware
from fewshot.training.keeping import RESUME, WholeFiles
from fewshot.training.stages import Stage

# Lightning announces hardware and tips at level INFO on every run; they say nothing about this one.
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)

_LOG_EVERY = 10
_OVERHEARD = (
    # Lightning 2.6 makes tree leaves in a way that torch 2.13 has deprecated; ours has no say in it.
    (r".*LeafSpec.*is deprecated", FutureWarning),
    # Features lie in memory, and a worker would only copy them; whoever reads photographs sets `workers`.
    (r".*does not have many workers", UserWarning),
    # A frozen backbone stays in eval mode, whatever the network does.
    (r".*module\(s\) in eval mode", UserWarning),
    # It cannot know that our loader begins at the step of the checkpoint.
    (r".*your dataloader is not resumable", UserWarning),
)
"""Warnings of Lightning that do not apply here."""


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

    def init_train_tqdm(self) -> Tqdm:
        """Make the bar as Lightning does, but on the stream for errors: what a command says is its result."""
        return Tqdm(
            desc=self.train_description,
            position=2 * self.process_position,
            disable=self.is_disabled,
            leave=True,
            dynamic_ncols=True,
            smoothing=0,
            bar_format=self.BAR_FORMAT,
        )

    def on_train_start(self, trainer: lightning.Trainer, *_: object) -> None:
        """Start the bar, at the step that a checkpoint has led to: Lightning resumes within an epoch without a word."""
        super().on_train_start(trainer, *_)
        self.train_progress_bar.reset(int(self.total_train_batches))
        # What was done before counts as done, and not into the time that a step takes.
        done = trainer.global_step * trainer.accumulate_grad_batches
        self.train_progress_bar.initial = self.train_progress_bar.n = done
        self.train_progress_bar.set_description(self.description)

    def on_train_epoch_start(self, *_: object) -> None:
        """Leave the bar as it is."""

    def get_metrics(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> dict[str, Any]:
        """Give what the bar shows: not the number of the log's folder, which looks like a result."""
        shown = super().get_metrics(trainer, pl_module)
        shown.pop("v_num", None)
        return dict(shown)


def run_stage(
    stage: Stage,
    *,
    hardware: Hardware,
    folder: Path | None,
    callbacks: Sequence[lightning.Callback] = (),
    description: str,
    resume: bool = True,
    synchronise_statistics: bool = False,
) -> None:
    """Train a stage in place, from its first step or from the checkpoint in its folder.

    The random generator of the CPU is left as it was. Those of GPUs are not; every step seeds them anew.

    Args:
        stage: What is trained.
        hardware: What on.
        folder: Of the run, for logs; None keeps nothing on disk.
        callbacks: What happens between the steps.
        description: Name of the progress bar.
        resume: Go on from the checkpoint in `folder`, if there is one.
        synchronise_statistics: Let batch normalisation see the whole batch where several GPUs share it.

    Raises:
        NonFiniteLossError: A loss or gradient became NaN or infinite.
        ValueError: The checkpoint is of another training, a batch cannot be shared evenly by the processes, or others
            than those of `hardware` were started.
    """
    _require_planned_processes(hardware)
    checkpoint = None if folder is None else folder / RESUME
    with _surroundings():
        trainer = lightning.Trainer(
            accelerator="gpu" if hardware.device.type == "cuda" else "cpu",
            devices=hardware.devices,
            num_nodes=hardware.nodes,
            strategy=hardware.strategy,
            precision=hardware.lightning_precision,
            accumulate_grad_batches=stage.portions,
            # An error would stop every training on a GPU at its first loss: there is none for its sum over pixels.
            deterministic="warn" if hardware.deterministic else False,
            sync_batchnorm=synchronise_statistics and hardware.processes > 1 and hardware.device.type == "cuda",
            # The whole run is one epoch of Lightning's: its steps, not its epochs, say where a checkpoint stands.
            max_epochs=1,
            use_distributed_sampler=False,
            logger=_make_loggers(folder),
            log_every_n_steps=min(_LOG_EVERY, stage.plan.steps),
            enable_checkpointing=False,
            enable_model_summary=False,
            callbacks=[NamedProgressBar(description), *callbacks, *([] if folder is None else [LearningRateMonitor()])],
            plugins=[WholeFiles()],
        )
        resumed = resume and checkpoint is not None and checkpoint.is_file()
        trainer.fit(stage, ckpt_path=checkpoint if resumed else None, weights_only=True)


def _require_planned_processes(hardware: Hardware) -> None:
    # Lightning would let each of them train for itself, and write the files of all others.
    started = int(os.environ.get("WORLD_SIZE", hardware.processes))
    if started != hardware.processes:
        raise ValueError(
            f"The processes that were started must be those of the configuration. Found {started} by `WORLD_SIZE`, "
            f"and `devices = {hardware.devices}` times `nodes = {hardware.nodes}`. Set `hardware.devices` to the "
            f"processes of a machine and `hardware.nodes` to the machines, or start without `torchrun`."
        )


def _make_loggers(folder: Path | None) -> list[Logger]:
    """Log to CSV, and to TensorBoard where it is installed; each start of a run into a folder of its own."""
    if folder is None:
        return []
    loggers: list[Logger] = [CSVLogger(folder, name="logs")]
    if find_spec("tensorboard") is not None:
        loggers.append(TensorBoardLogger(folder, name="tensorboard"))
    return loggers


@contextmanager
def _surroundings() -> Iterator[None]:
    """Keep what Lightning changes for a run inside the run."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    # Not the generators of GPUs: to ask for them takes memory on every GPU there is, also on those of others.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        for message, category in _OVERHEARD:
            warnings.filterwarnings("ignore", message, category)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(deterministic)
