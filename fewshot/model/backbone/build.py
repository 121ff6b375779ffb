"""From the name of a backbone to an untrained one."""

from typing import Literal

from fewshot.model.backbone.features import Backbone
from fewshot.model.backbone.mobilenet import MobileNetV2
from fewshot.model.backbone.preactivation import ResNet50V2
from fewshot.model.backbone.residual import build_resnet, build_small
from fewshot.model.backbone.vgg import VGG16

BackboneName = Literal["small", "resnet50", "resnet101", "resnet50v2", "vgg16", "vgg16_bn", "mobilenetv2"]
StemName = Literal["plain", "deep"]

DEEP_STEMS: tuple[BackboneName, ...] = ("resnet50", "resnet101", "mobilenetv2")
"""Backbones of which public weights with deeper first layers than torchvision's exist."""


def build_backbone(name: BackboneName, *, stem: StemName = "plain") -> Backbone:
    """Make an untrained backbone.

    Args:
        name: `small` (one basic residual block a stage, 16/32/48/64 channels, stride 4: for 64-pixel images and
            tests), `resnet50`, `resnet101`, `resnet50v2` (pre-activation, three stages), `vgg16`, `vgg16_bn` (with
            batch normalisation) or `mobilenetv2`; all but the first at stride 8.
        stem: First layers as in torchvision's weights (`plain`), or one or two convolutions more (`deep`): three 3x3
            in place of a ResNet's 7x7 (the weights of semseg, which PFENet uses), an expansion in the first block of
            MobileNetV2 (the weights of MXNet's Gluon).

    Raises:
        ValueError: The backbone has no deep stem.
    """
    if stem == "deep" and name not in DEEP_STEMS:
        raise ValueError(
            f"`stem` must be 'plain' for backbones without a deep one. Found 'deep' for {name!r}. Leave `stem` out, or "
            f"choose one of {DEEP_STEMS}."
        )
    if name == "small":
        return build_small()
    if name == "mobilenetv2":
        return MobileNetV2(expand_first=stem == "deep")
    if name in ("vgg16", "vgg16_bn"):
        return VGG16(batch_norm=name == "vgg16_bn")
    if name == "resnet50v2":
        return ResNet50V2()
    return build_resnet(name, deep_stem=stem == "deep")
