"""Episodic training: everything after the frozen backbone learns to segment one task after another."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import lightning

from fewshot.data.storage import hash_tensors
from fewshot.hardware import Hardware
from fewshot.model.cmnet import CMNet
from fewshot.training.batches import FeatureBatches, PixelBatches
from fewshot.training.config import TrainingConfig
from fewshot.training.episodic import EpisodicStage
from fewshot.training.keeping import Saver, Selector
from fewshot.training.loops import run_stage
from fewshot.training.stages import NonFiniteLossError, Plan

__all__ = ["FeatureBatches", "NonFiniteLossError", "PixelBatches", "TrainingConfig", "TrainingResult", "train"]


@dataclass(frozen=True)
class TrainingResult:
    """How a training went.

    Attributes:
        losses: The loss of every step, also of those before an interruption.
        scores: The score of every validation, by step; empty where none was asked for.
        selected_step: The step whose weights the network has.
        checkpoints: Files of weights, by `last`, `best` and `step-...`; empty without a folder.
    """

    losses: tuple[float, ...]
    scores: dict[int, float]
    selected_step: int
    checkpoints: dict[str, Path]


def train(
    network: CMNet,
    batches: FeatureBatches | PixelBatches,
    config: TrainingConfig,
    *,
    seed: int,
    folder: Path | None = None,
    save: Callable[[CMNet, Path], None] | None = None,
    validate: Callable[[CMNet], float] | None = None,
    hardware: Hardware | None = None,
    description: str = "Training",
    resume: bool = True,
) -> TrainingResult:
    """Train a network in place and leave it in eval mode, on the CPU.

    Two networks trained with the same seed on the same source see the same episodes in the same order.

    Args:
        network: What learns.
        batches: The episodes by number, with features (`FeatureBatches`) or with pixels (`PixelBatches`).
        config: The schedule.
        seed: Decides what dropout drops and the like; the episodes are the source's.
        folder: Where logs, a state to resume from and the weights go. None keeps nothing on disk.
        save: Writes the weights to a file, such as `save_checkpoint` with its further arguments set. Needed with a
            folder.
        validate: Scores the network, higher is better: on held-in classes for `select = base_val`, on held-out ones for
            `test`. Called in every process, and must answer all of them alike. Needed unless `select` is `last`.
        hardware: What to run on. Default: one process on a GPU if there is one, else on the CPU.
        description: Name of the progress bar.
        resume: Go on from the state in the folder, if there is one; of a training that is done this gives the result.

    Raises:
        NonFiniteLossError: A loss or gradient became NaN or infinite; with a folder its batch is kept there.
        ValueError: The state in the folder is of another training, or an argument is missing or does not fit.
    """
    hardware = hardware or Hardware()
    if folder is not None and save is None:
        raise ValueError(
            "`save` must say how weights are written where `folder` is given. Found None. Pass `save_checkpoint` with "
            "its arguments set, or leave `folder` out."
        )
    if config.select != "last" and validate is None:
        raise ValueError(
            f"`validate` must score the network where `select` is not 'last'. Found `select = {config.select!r}` and "
            f"no `validate`. Pass a function, or select the last weights."
        )
    batches.check(network, config.count_steps(batches.pool) * config.batch_size)
    plan = _make_plan(network, batches, config, seed, hardware)
    portions = config.count_portions(hardware.processes)
    stage = EpisodicStage(network, config, plan, batches, workers=hardware.workers, folder=folder, portions=portions)
    selector = _make_selector(network, config, plan, folder, save, validate)
    callbacks: list[lightning.Callback] = [] if selector is None else [selector]
    if folder is not None and save is not None:
        callbacks.append(_make_saver(network, config, plan, folder, save, fresh=not resume))
    run_stage(stage, hardware=hardware, folder=folder, callbacks=callbacks, description=description, resume=resume)
    network.eval()
    selected = plan.steps
    if selector is not None and config.select != "last":
        selector.restore_best()
        selected = selector.best_step or plan.steps
    scores = {} if selector is None else selector.scores
    return TrainingResult(tuple(stage.losses), scores, selected, _list_weights(folder))


def _make_plan(
    network: CMNet, batches: FeatureBatches | PixelBatches, config: TrainingConfig, seed: int, hardware: Hardware
) -> Plan:
    # How often something is written changes nothing in what is learnt.
    settings = {name: value for name, value in asdict(config).items() if name not in ("checkpoint_every", "keep_every")}
    weights = hash_tensors(network.backbone.state_dict())
    return Plan(
        name="episodic training",
        steps=config.count_steps(batches.pool),
        batch_size=config.batch_size,
        seed=seed,
        power=config.power,
        warmup=config.warmup,
        max_gradient_norm=config.max_gradient_norm,
        recipe={
            "training": settings,
            "network": asdict(network.config),
            "backbone": weights,
            "precision": hardware.precision,
        },
    )


def _make_selector(
    network: CMNet,
    config: TrainingConfig,
    plan: Plan,
    folder: Path | None,
    save: Callable[[CMNet, Path], None] | None,
    validate: Callable[[CMNet], float] | None,
) -> Selector | None:
    if validate is None:
        return None
    return Selector(
        network,
        lambda: validate(network),
        steps=plan.steps,
        every=config.validate_every,
        path=None if folder is None else folder / "best.safetensors",
        save=None if save is None else lambda path: save(network, path),
    )


def _make_saver(
    network: CMNet,
    config: TrainingConfig,
    plan: Plan,
    folder: Path,
    save: Callable[[CMNet, Path], None],
    *,
    fresh: bool,
) -> Saver:
    return Saver(
        folder,
        lambda path: save(network, path),
        steps=plan.steps,
        every=config.checkpoint_every,
        keep_every=config.keep_every,
        fresh=fresh,
    )


def _list_weights(folder: Path | None) -> dict[str, Path]:
    if folder is None:
        return {}
    return {path.stem: path for path in sorted(folder.glob("*.safetensors")) if not path.stem.startswith("nonfinite")}
