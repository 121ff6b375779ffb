"""The supervised stage: a backbone learns to tell the held-in classes apart before it is frozen.

Its images show no held-out class at all, unless another convention asks for it. The classifier is thrown away; the
backbone goes into a file that says which classes it has seen, and is not taken by a run that is to test on them.
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from fewshot.data.storage import hash_tensors, load_cached
from fewshot.hardware import Hardware
from fewshot.model.backbone import Backbone
from fewshot.pretraining.config import PretrainingConfig
from fewshot.pretraining.stage1 import load_stage1, mean_iou, read_notes, save_stage1
from fewshot.pretraining.supervised import FinalCheck, SupervisedStage, list_batch_norms
from fewshot.pretraining.supervision import SupervisedBatches, Supervision
from fewshot.training.keeping import RESUME, Saver
from fewshot.training.loops import run_stage
from fewshot.training.stages import Plan, describe_stage

__all__ = ["Pretrained", "PretrainingConfig", "Supervision", "load_stage1", "pretrain"]


@dataclass(frozen=True)
class Pretrained:
    """What the supervised stage left.

    Attributes:
        path: File of the backbone, for `load_stage1`.
        miou: Mean IoU on held-in classes of images of the test part, in per cent; None where it was not taken.
        losses: Loss of every step; empty when the backbone was there already.
        reused: Whether it was.
    """

    path: Path
    miou: float | None
    losses: tuple[float, ...]
    reused: bool


def pretrain(
    backbone: Backbone,
    supervision: Supervision,
    config: PretrainingConfig,
    *,
    seed: int,
    cache: Path,
    hardware: Hardware | None = None,
    description: str = "Supervised stage",
) -> Pretrained:
    """Train a backbone in place, or fill it with the result of the same training, and leave it frozen in eval mode.

    The result is kept in a folder named by everything that it depends on, the weights that the backbone came with among
    them; an interrupted training is resumed there.

    Args:
        backbone: What learns, filled with ImageNet weights or random.
        supervision: What it learns from.
        config: The schedule. Its convention must be that of `supervision`.
        seed: Decides the classifier's first weights, the order of the images and their augmentation.
        cache: Where the folder is.
        hardware: What to run on. Default: one process on a GPU if there is one, else on the CPU.
        description: Name of the progress bar.

    Raises:
        NonFiniteLossError: A loss or gradient became NaN or infinite.
        ValueError: The conventions differ, or several processes without GPUs would need statistics of each other.
    """
    hardware = hardware or Hardware()
    _require_one_convention(supervision, config)
    source = SupervisedBatches(supervision, config.augmentation, seed=seed)
    plan = _make_plan(backbone, supervision, config, seed, hardware)
    folder = cache / f"backbone-{hashlib.sha256(describe_stage(plan, source).encode()).hexdigest()[:16]}"
    path = folder / "backbone.safetensors"
    weights = load_cached(path)
    if weights is not None:
        backbone.load_state_dict(weights)
        backbone.requires_grad_(False).eval()
        return Pretrained(path, read_notes(path)["miou"], (), reused=True)
    stage = SupervisedStage(backbone, source, config, plan, workers=hardware.workers, folder=folder)
    _require_shared_statistics(stage, hardware)
    check = FinalCheck(stage, images=config.check_images, workers=hardware.workers)
    saver = Saver(folder, None, steps=plan.steps, every=config.checkpoint_every, keep_every=None, fresh=False)
    run_stage(
        stage,
        hardware=hardware,
        folder=folder,
        callbacks=[check, saver],
        description=description,
        synchronise_statistics=True,
    )
    backbone.requires_grad_(False).eval()
    if stage.global_rank == 0:
        save_stage1(path, backbone, supervision, recipe=describe_stage(plan, source), iou=check.iou)
        (folder / RESUME).unlink(missing_ok=True)
    return Pretrained(path, mean_iou(check.iou), tuple(stage.losses), reused=False)


def _make_plan(
    backbone: Backbone, supervision: Supervision, config: PretrainingConfig, seed: int, hardware: Hardware
) -> Plan:
    # How often something is written or looked at changes nothing in what is learnt.
    settings = asdict(config)
    for name in ("checkpoint_every", "check_images"):
        del settings[name]
    return Plan(
        name="the supervised stage",
        steps=config.count_steps(len(supervision.entries)),
        batch_size=config.batch_size,
        seed=seed,
        power=config.power,
        recipe={
            "pretraining": settings,
            "backbone": type(backbone).__name__,
            "weights": hash_tensors(backbone.state_dict()),
            "torch": torch.__version__,
            "precision": hardware.precision,
        },
    )


def _require_one_convention(supervision: Supervision, config: PretrainingConfig) -> None:
    if supervision.convention != config.convention:
        raise ValueError(
            f"The images must be chosen by the convention of the configuration. Found {supervision.convention!r} and "
            f"{config.convention!r}. Make the supervision with `convention=config.convention`."
        )


def _require_shared_statistics(stage: SupervisedStage, hardware: Hardware) -> None:
    learning = [layer for layer in list_batch_norms(stage.train()) if layer.training]
    if hardware.processes > 1 and hardware.device.type == "cpu" and learning:
        raise ValueError(
            f"Batch normalisation that learns must see the whole batch, which PyTorch shares between GPUs only. Found "
            f"{len(learning)} such layers for {hardware.processes} processes on CPUs. Train in one process, or set "
            f"`batch_norm` to 'frozen' and `head` to 'linear'."
        )
