"""Reduction of the backbone's multi-level features to the network's width."""

from typing import Literal

from torch import nn

ReductionName = Literal["1x1", "3x3d2"]

_DILATION = 2


def build_reduction(name: ReductionName, inputs: int, width: int) -> nn.Sequential:
    """Make the convolution of that name, followed by ReLU.

    Dropout is none of it: channels dropped on one side only would spoil the comparison of query and support, so it
    comes on the way into the decoder.

    Args:
        name: `1x1` without bias (PFENet), or `3x3d2`, 3 x 3 with dilation 2 and bias (CANet).
        inputs: Channels of the backbone's features.
        width: Channels of the result.
    """
    if name == "1x1":
        return nn.Sequential(nn.Conv2d(inputs, width, 1, bias=False), nn.ReLU())
    return nn.Sequential(nn.Conv2d(inputs, width, 3, padding=_DILATION, dilation=_DILATION), nn.ReLU())
