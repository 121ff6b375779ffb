"""MobileNetV2 with torchvision's weight names, its late stages dilated."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from fewshot.model.backbone.features import Backbone

_STRIDE = 8
# Expansion, channels, blocks and stride of the first block: table 2 of the paper.
_GROUPS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
_LAYER2_END, _LAYER3_END = 7, 14


def _convolution(
    inputs: int,
    outputs: int,
    *,
    size: int = 1,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    follows: Literal["relu", "linear"] = "relu",
) -> nn.Conv2d:
    padding = dilation * (size // 2)
    layer = nn.Conv2d(inputs, outputs, size, stride, padding, dilation=dilation, groups=groups, bias=False)
    # By fan-in, unlike torchvision: the fan-out of a depthwise convolution is counted over all groups, so untrained
    # features behind frozen batch normalisation would shrink to what float16 cannot hold.
    nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity=follows)
    return layer


def _activated(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU6())


class _InvertedResidual(nn.Module):
    """Expansion (if any), depthwise 3x3 convolution and linear projection, with a shortcut where sizes allow."""

    def __init__(self, inputs: int, outputs: int, *, hidden: int, expand: bool, stride: int, dilation: int) -> None:
        super().__init__()
        depthwise = _convolution(hidden, hidden, size=3, stride=stride, dilation=dilation, groups=hidden)
        self.conv = nn.Sequential(
            *([_activated(_convolution(inputs, hidden, follows="linear"))] if expand else []),
            _activated(depthwise),
            _convolution(hidden, outputs),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.shortcut else self.conv(x)


class MobileNetV2(Backbone):
    """MobileNetV2 of width 1, up to the 1x1 convolution before its classifier.

    Stage 2 ends with the blocks of 32 channels, stage 3 with those of 96, stage 4 with the 1280 channels of the last
    convolution. The two strides after 1/8 are left out and every depthwise convolution behind them is dilated by 2,
    then by 4: every second row and column of stage 3, every fourth of stage 4, is exactly what the strided network
    gives.

    Args:
        expand_first: Whether the first block, too, expands (32 to 32 channels), as in the weights of MXNet's Gluon;
            in torchvision's it does not.

    References:
        Sandler et al. (2018), MobileNetV2: Inverted Residuals and Linear Bottlenecks, table 2.
    """

    classifier = "classifier."

    def __init__(self, *, expand_first: bool = False) -> None:
        super().__init__(layer2=32, layer3=96, layer4=1280, stride=_STRIDE)
        layers: list[nn.Module] = [_activated(_convolution(3, 32, size=3, stride=2, follows="linear"))]
        inputs, reached, dilation = 32, 2, 1
        for expansion, outputs, blocks, first in _GROUPS:
            for wanted in (first, *[1] * (blocks - 1)):
                stride = wanted if reached * wanted <= _STRIDE else 1
                expand = expansion > 1 or expand_first
                hidden = inputs * expansion
                layers.append(
                    _InvertedResidual(inputs, outputs, hidden=hidden, expand=expand, stride=stride, dilation=dilation)
                )
                # Only what comes after a stride that was left out sees a denser grid than it was trained on.
                inputs, reached, dilation = outputs, reached * stride, dilation * wanted // stride
        layers.append(_activated(_convolution(inputs, 1280, follows="linear")))
        self.features = nn.Sequential(*layers)

    def run_to_layer2(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch layer2 h w"]:
        """Apply the stem and the blocks down to 1/8."""
        return self.features[:_LAYER2_END](images)

    def run_layer3(self, layer2: Float[Tensor, "batch layer2 h w"]) -> Float[Tensor, "batch layer3 h w"]:
        """Apply the blocks that the published network has at 1/16."""
        return self.features[_LAYER2_END:_LAYER3_END](layer2)

    def run_layer4(self, layer3: Float[Tensor, "batch layer3 h w"]) -> Float[Tensor, "batch layer4 h w"]:
        """Apply the blocks that the published network has at 1/32, and the last convolution."""
        return self.features[_LAYER3_END:](layer3)
