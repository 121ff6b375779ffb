"""`fewshot pretrain`: a backbone in the supervised stage, for one fold of a data set."""

from pathlib import Path

import torch
from jsonargparse import ArgumentParser, Namespace

from fewshot.commands.options import DATA_HELP, add_config
from fewshot.data.dataset import DataSet
from fewshot.hardware import Hardware
from fewshot.model.backbone import BackboneName, StemName, build_backbone, load_backbone_weights
from fewshot.pretraining.pretrain import PretrainingConfig, Supervision, pretrain


def build_pretrain_parser() -> ArgumentParser:
    """Make the parser of `fewshot pretrain`."""
    parser = ArgumentParser(
        description="Train a backbone to tell the held-in classes of a fold apart.", allow_abbrev=False
    )
    add_config(parser, presets=False)
    parser.add_argument("--data", type=DataSet, required=True, help=DATA_HELP)
    parser.add_argument("--fold", type=int, default=0, help="which classes are held out")
    parser.add_argument("--seed", type=int, default=321, help="decides classifier, order of images and augmentation")
    parser.add_argument("--backbone", type=BackboneName, default="resnet50", help="which network")
    parser.add_argument("--stem", type=StemName, default="plain", help="its first layers")
    parser.add_argument("--weights", type=Path | None, default=None, help="ImageNet weights to start from")
    parser.add_argument("--output", type=Path, required=True, help="folder for the backbone; `fewshot train --stage1`")
    parser.add_class_arguments(PretrainingConfig, "pretraining")
    parser.add_class_arguments(Hardware, "hardware")
    return parser


def run_pretrain(options: Namespace, _command: str) -> str:
    """Train a backbone, or resume, or find it trained, and say where it is.

    Args:
        options: As `build_pretrain_parser` parses them, not instantiated.
    """
    values = build_pretrain_parser().instantiate(options)
    dataset: DataSet = values.data
    config: PretrainingConfig = values.pretraining
    index, fold = dataset.load_index(values.fold), dataset.fold(values.fold)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(values.seed)
        backbone = build_backbone(values.backbone, stem=values.stem)
    if values.weights is not None:
        load_backbone_weights(backbone, values.weights)
    supervision = Supervision(dataset, index, fold, config.convention)
    found = pretrain(backbone, supervision, config, seed=values.seed, cache=values.output, hardware=values.hardware)
    check = "" if found.miou is None else f", mIoU {found.miou:.1f} on held-in classes"
    return f"{found.path}{check}\nUse it by `fewshot train --multi_task true --stage1 {found.path}`."
