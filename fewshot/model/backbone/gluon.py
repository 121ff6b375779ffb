"""MobileNetV2 as MXNet's Gluon names it, the layout of the ONNX Model Zoo, in torchvision's names."""

import re
from collections.abc import Mapping

from torch import Tensor

_NAME = re.compile(r"(?:linearbottleneck(?P<block>\d+)_)?(?P<kind>conv|batchnorm)(?P<index>[012])_(?P<leaf>\w+)")
_LEAVES = {"gamma": "weight", "beta": "bias"}
_LAST = 18


def is_gluon_mobilenet(weights: Mapping[str, Tensor]) -> bool:
    """Say whether a state dict names its blocks as Gluon's MobileNetV2 does."""
    return any(name.startswith("linearbottleneck") for name in weights)


def rename_gluon_mobilenet(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the weights of Gluon's MobileNetV2 the names that `MobileNetV2(expand_first=True)` has.

    Kernels and normalisations mean the same in both, and both pad alike. `conv0` and `batchnorm0` are the stem,
    `conv1` and `batchnorm1` the last convolution; in block i, `conv0` expands, `conv1` is depthwise and `conv2`
    projects. torchvision's first block has no expansion, so this network is one layer deeper. What is named
    otherwise, a classifier for instance, keeps its name.

    Args:
        weights: A state dict for which `is_gluon_mobilenet` holds.
    """
    return {_rename(name): value for name, value in weights.items()}


def _rename(name: str) -> str:
    match = _NAME.fullmatch(name)
    if match is None:
        return name
    index, normalises = int(match["index"]), match["kind"] == "batchnorm"
    leaf = _LEAVES.get(match["leaf"], match["leaf"])
    if match["block"] is None:
        return f"features.{_LAST if index else 0}.{int(normalises)}.{leaf}"
    # The projection is no unit of its own: its normalisation follows it in the same list.
    place = str(index + normalises) if index == 2 else f"{index}.{int(normalises)}"
    return f"features.{int(match['block']) + 1}.conv.{place}.{leaf}"
