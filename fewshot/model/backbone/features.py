"""What every backbone gives, and the one way in which its stages make it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Features:
    """What the frozen backbone says about a batch of images; one column of channels is a node.

    Independent of everything that is trained afterwards, so it can be computed once, stored (float16 is enough) and
    indexed along the first dimension.

    Attributes:
        mid: Third stage followed by second stage, the «multi-level features» of the network.
        high: Fourth stage, from which the prior mask is made.
    """

    mid: Float[Tensor, "batch mid_channels height width"]
    high: Float[Tensor, "batch high_channels height width"]

    def to(self, target: torch.dtype | torch.device | str) -> "Features":
        """Return the features in another type, or on another device."""
        return Features(self.mid.to(target), self.high.to(target))


class Backbone(nn.Module, ABC):
    """Network without classifier whose last three stages share one resolution.

    Where the published network strides in stage 3 or 4 it dilates instead. An image of any height and width gives
    nodes by `stride`, both rounded up: 60 x 60 of 473 x 473 pixels at stride 8. Parameters are named as in torchvision.

    Attributes:
        mid_channels: Channels of `Features.mid`.
        high_channels: Channels of `Features.high`.
        layer3_channels: How many of the mid channels, from the front, are stage 3.
        stride: Pixels from one node to the next.
        classifier: How the names of what comes after the last stage begin in torchvision's state dict.
    """

    classifier: ClassVar[str]

    def __init__(self, *, layer2: int, layer3: int, layer4: int, stride: int) -> None:
        super().__init__()
        self.mid_channels, self.high_channels, self.layer3_channels = layer2 + layer3, layer4, layer3
        self.stride = stride

    @abstractmethod
    def run_to_layer2(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch layer2 h w"]:
        """Apply everything up to the end of stage 2."""

    @abstractmethod
    def run_layer3(self, layer2: Float[Tensor, "batch layer2 h w"]) -> Float[Tensor, "batch layer3 h w"]:
        """Apply stage 3."""

    @abstractmethod
    def run_layer4(self, layer3: Float[Tensor, "batch layer3 h w"]) -> Float[Tensor, "batch layer4 h w"]:
        """Apply stage 4."""

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Features:
        """Describe images that are RGB in [0, 1], normalised by ImageNet's mean and standard deviation."""
        layer2 = self.run_to_layer2(images)
        layer3 = self.run_layer3(layer2)
        return Features(torch.cat([layer3, layer2], dim=1), self.run_layer4(layer3))

    def deepen(self, mid: Float[Tensor, "batch mid h w"]) -> Float[Tensor, "batch high h w"]:
        """Apply stage 4 to the stage-3 channels of (masked) mid-level features, as the prior mask asks."""
        return self.run_layer4(mid[:, : self.layer3_channels])
