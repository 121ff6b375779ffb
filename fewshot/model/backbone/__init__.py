"""Frozen feature extractors: one network a file, `weights.py` to fill them, `build.py` to choose one by name."""

from fewshot.model.backbone.build import DEEP_STEMS, BackboneName, StemName, build_backbone
from fewshot.model.backbone.features import Backbone, Features
from fewshot.model.backbone.weights import load_backbone_weights, read_weights

__all__ = [
    "DEEP_STEMS",
    "Backbone",
    "BackboneName",
    "Features",
    "StemName",
    "build_backbone",
    "load_backbone_weights",
    "read_weights",
]
